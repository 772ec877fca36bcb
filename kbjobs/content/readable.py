"""Code and formulas of a page as text: line numbers go, lines stay lines, a formula is what its author typed."""

from __future__ import annotations

from selectolax.lexbor import LexborNode

# Line numbers of Pygments, Rouge, Hexo, Hugo, Prism, highlight.js and GitHub.
_LINE_NUMBERS = (
    ".linenos,.lineno,.linenodiv,.linenumber,.line-number,.line-numbers-rows,.gutter,.lnt,.ln,.blob-num,"
    ".hljs-ln-numbers,[data-line-number]"
)
_SIGNS_OF_LINE_NUMBERS = (
    b"lineno",
    b"linenumber",
    b"line-number",
    b"gutter",
    b'"lnt"',
    b'"ln"',
    b"blob-num",
    b"hljs-ln",
)
_FORMULA_IMAGES = "img[alt][class*=math],img[alt][class~=tex],img[alt][class~=latex],.math img[alt]"
_SIGNS_OF_FORMULAS = (b"math", b"latex", b'"tex"')
_DISPLAY_STYLE = "{\\displaystyle "  # how MediaWiki begins each formula


def make_readable(body: LexborNode, page: bytes) -> frozenset[int]:
    """Take line numbers out of ``body`` and put formulas in as text; ``page`` is its markup.

    Returns the tables whose rows are lines of code, by ``mem_id``.
    """
    if any(sign in page for sign in _SIGNS_OF_FORMULAS):
        _write_formulas(body)
    if any(sign in page for sign in _SIGNS_OF_LINE_NUMBERS):
        return _drop_line_numbers(body)
    return frozenset()


def _write_formulas(body: LexborNode) -> None:
    for image in body.css(_FORMULA_IMAGES):
        _replace(image, image.attributes.get("alt") or "")
    for formula in body.css("math"):
        source = formula.css_first("annotation[encoding='application/x-tex']")
        text = source.text() if source is not None else formula.attributes.get("alttext") or ""
        if text.strip():
            _replace(formula, text)
        else:
            for annotation in formula.css("annotation,annotation-xml"):
                annotation.decompose()
    for script in body.css("script[type^='math/tex']"):  # MathJax 2
        _replace(script, script.text())


def _replace(node: LexborNode, formula: str) -> None:
    formula = formula.strip()
    if formula.startswith(_DISPLAY_STYLE) and formula.endswith("}"):
        formula = formula.removeprefix(_DISPLAY_STYLE)[:-1]
    node.insert_before(formula)
    node.decompose()


def _drop_line_numbers(body: LexborNode) -> frozenset[int]:
    listings = set()
    numbers = [node for node in body.css(_LINE_NUMBERS) if _is_number(node.text())]
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


def _is_number(text: str) -> bool:
    return all(part.isdecimal() for part in text.split())


def read_listing(node: LexborNode) -> str:
    """Return the text of a <pre> with its line breaks, without empty lines at either end."""
    if node.css_first("div,p,li") is None:
        return _tidy_lines(node.text())
    text = ""
    parts: list[str] = []
    for child in node.traverse(include_text=True):
        if child.tag == "-text":
            text = child.text_content or ""
            parts.append(text)
        elif child.tag in ("div", "p", "li") and text and not text.endswith("\n"):
            text = "\n"
            parts.append(text)
    return _tidy_lines("".join(parts))


def read_lines(table: LexborNode) -> str:
    """Return the rows of a table, each a line as it stands there."""
    return _tidy_lines("\n".join([row.text().strip("\n") for row in table.css("tr")]))


def _tidy_lines(text: str) -> str:
    return "\n".join([line.rstrip() for line in text.splitlines()]).strip("\n")
