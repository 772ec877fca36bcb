"""Make code and formulas of a page readable: drop line numbers, keep lines, write a formula as its author did."""

from __future__ import annotations

from selectolax.lexbor import LexborNode

# Line numbers of Pygments, Rouge, Hexo, Hugo, Prism, highlight.js and GitHub.
_LINE_NUMBERS = (
    ".linenos,.lineno,.linenodiv,.linenumber,.line-number,.line-numbers-rows,.gutter,.lnt,.ln,.blob-num,"
    ".hljs-ln-numbers,[data-line-number]"
)
_SIGN_OF_NUMBERED_ROWS = b"blob-num"
_FORMULA_IMAGES = "img[alt][class*=math],img[alt][class~=tex],img[alt][class~=latex],.math img[alt]"
_SIGNS_OF_FORMULAS = (b"math", b'"latex"')
_TEX = "application/x-tex"
_DISPLAY_STYLE = "{\\displaystyle "  # the beginning of each formula in MediaWiki


def write_formulas(body: LexborNode, page: bytes) -> None:
    """Put formulas into ``body`` as text: a formula's source, or its image's text; ``page`` is the markup."""
    if not any(sign in page for sign in _SIGNS_OF_FORMULAS):
        return
    for image in body.css(_FORMULA_IMAGES):
        _replace(image, image.attributes.get("alt") or "")
    for formula in body.css("math[alttext]"):
        _replace(formula, formula.attributes.get("alttext") or "")
    for annotation in body.css("annotation,annotation-xml"):
        semantics = annotation.parent
        above = semantics.parent if semantics is not None else None
        if above is not None and above.tag == "math" and annotation.attributes.get("encoding") == _TEX:
            _replace(above, annotation.text())
        else:
            annotation.decompose()
    for script in body.css("script[type^='math/tex']"):  # MathJax 2
        _replace(script, script.text())


def _replace(node: LexborNode, formula: str) -> None:
    formula = formula.strip()
    if formula.startswith(_DISPLAY_STYLE) and formula.endswith("}"):
        formula = formula.removeprefix(_DISPLAY_STYLE)[:-1]
    node.insert_before(formula)
    node.decompose()


def has_line_numbers(page: bytes, *, begins_with_number: bool, has_tables: bool) -> bool:
    """Whether a page's listings may have line numbers; examining each element costs much more.

    Args:
        page: the page's markup.
        begins_with_number: whether a listing begins with a digit.
        has_tables: whether the page has tables.
    """
    return begins_with_number or (has_tables and _SIGN_OF_NUMBERED_ROWS in page)


def drop_line_numbers(root: LexborNode) -> frozenset[int]:
    """Remove line numbers. Returns the tables whose rows are lines of code, by ``mem_id``."""
    listings = set()
    numbers = [node for node in root.css(_LINE_NUMBERS) if all(map(str.isdecimal, node.text().split()))]
    for node in numbers:
        row = node.parent
        if node.tag == "td" and row is not None and row.css_first("pre") is None:
            table = row.parent
            while table is not None and table.tag != "table":
                table = table.parent
            if table is not None:
                listings.add(table.mem_id)
    for node in numbers:
        node.decompose()
    return frozenset(listings)


def read_listing(node: LexborNode) -> str:
    """Return the text of a <pre> with its line breaks, without empty lines at either end."""
    if node.css_first("div,p,li,tr") is None:
        return _tidy_lines(node.text())
    text = ""
    parts: list[str] = []
    for child in node.traverse(include_text=True):
        if child.tag == "-text":
            text = child.text_content or ""
            parts.append(text)
        elif child.tag in ("div", "p", "li", "tr") and text and not text.endswith("\n"):
            text = "\n"
            parts.append(text)
    return _tidy_lines("".join(parts))


def read_lines(table: LexborNode) -> str:
    """Return the rows of a table as lines, unchanged."""
    return _tidy_lines("\n".join([row.text().strip("\n") for row in table.css("tr")]))


def _tidy_lines(text: str) -> str:
    return "\n".join([line.rstrip() for line in text.splitlines()]).strip("\n")
