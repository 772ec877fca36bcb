"""An HTML page as blocks of text: the main content, without navigation, in document order.

The parser is selectolax's lexbor, which does what browsers do with broken markup. The walk below keeps its
own stack: a page may nest its tags as deep as it likes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from selectolax.lexbor import LexborHTMLParser, LexborNode

from kbjobs.content.about import read_about
from kbjobs.content.document import Block, Extract
from kbjobs.content.nesting import refuse_deep_nesting

# What never is content. The class names are those of Sphinx, Read the Docs, MediaWiki, Bootstrap and WordPress.
_NEVER = (
    "script style template noscript svg iframe object canvas audio video select textarea button datalist nav aside "
    "footer dialog"
)
_FURNITURE_ROLES = frozenset(
    [
        "navigation",
        "banner",
        "contentinfo",
        "complementary",
        "search",
        "menu",
        "menubar",
        "toolbar",
        "dialog",
        "alertdialog",
    ]
)
_FURNITURE_NAMES = frozenset(
    [
        "sidebar",
        "sphinxsidebar",
        "navbar",
        "nav-links",
        "navigation",
        "breadcrumb",
        "breadcrumbs",
        "related",
        "menu",
        "site-header",
        "site-footer",
        "footer",
        "header-nav",
        "toc",
        "table-of-contents",
        "headerlink",
        "mw-editsection",
        "noprint",
        "navbox",
        "catlinks",
        "printfooter",
        "mw-jump-link",
        "skip-link",
        "skiplink",
        "cookie-banner",
        "cookie-notice",
        "advertisement",
        "social-share",
        "share-buttons",
        "pagination",
        "mw-navigation",
    ]
)
_NOT_DISPLAYED = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_SIGNS_OF_FURNITURE_IN_LINE = (b"hidden", b"noprint", b"display:none", b"display: none", b"mw-editsection", b"skip")

_MAIN_NAMES = frozenset(
    [
        "content",
        "main",
        "main-content",
        "bodyContent",
        "mw-content-text",
        "mw-parser-output",
        "markdown-body",
        "entry-content",
        "post-content",
        "article-body",
        "body",
        "document",
    ]
)
_CANDIDATE_LIMIT = 40
_MIXED_LIMIT = 20
_INNER_SHARE = 0.8  # a smaller candidate is taken when it holds this much of the largest one's text
_BODY_SHARE = 0.3  # a candidate with less of the body's text than this is not the content …
_MAIN_LENGTH = 250  # … unless the page says so itself (<main>) and it has at least so many characters

_BLOCKS = "p,div,ul,ol,dl,li,table,pre,blockquote,section,article,h1,h2,h3,h4,h5,h6,form,hr"
_INLINE = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd label mark math meter output "
    "picture progress q rb rp rt ruby s samp small span strike strong sub sup time tt u var wbr input link meta"
)
_PLAIN = ("p", "li", "dt", "dd", "td", "th", "tr", "pre", "h1", "h2", "h3", "h4", "h5", "h6")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HOLDS_CONTENT = "main,[role=main],article,#content,#mw-content-text"  # furniture by name only is kept then
_NOT_FOR_ROWS = "table,pre,h1,h2,h3,h4,h5,h6"

_SITE_HEADER_DEPTH = 3  # a <header> so near the top of <body> is the site's, deeper it is an article's

# The codes by which the survey and the walk decide; 1-6 are headings.
_CONTAINER, _TEXT, _IN_LINE, _SPAN, _ANCHOR, _BREAK, _PARAGRAPH, _LISTING, _TABLE, _ROW, _FORM, _HEADER = range(10, 22)
_MAIN, _FURNITURE, _NOTHING = range(22, 25)
_IN_LINES = frozenset({_IN_LINE, _SPAN, _ANCHOR})

_SELF_CLOSED = re.compile(
    rb"<(script|title|style|textarea|iframe|noscript|div|span|a|p|i|b|em|td|th|li|ul)(\s[^<>]*)?/>"
)


def extract_html(page: bytes, *, is_xml: bool = False) -> Extract:
    """Return title, language, claimed address, blocks and references of ``page`` (UTF-8).

    References are those of the main content only. ``is_xml`` says that ``<div/>`` closes itself.
    Raises TooDeeplyNested for a page made to keep the parser busy.
    """
    refuse_deep_nesting(page)
    if is_xml:
        page = _SELF_CLOSED.sub(rb"<\1\2></\1>", page)
    tree = LexborHTMLParser(page)
    title, language, canonical = _read_head(tree)
    about = read_about(tree, page)
    blocks, references = _extract_body(tree, page, _FURNITURE_NAMES)
    if not blocks:
        # the whole page may sit in a <div class="sidebar">: class names promise nothing
        blocks, references = _extract_body(LexborHTMLParser(page), page, frozenset())
    return Extract(title, language, canonical, blocks, references, about)


def _read_head(tree: LexborHTMLParser) -> tuple[str, str, str]:
    language = ""
    html = tree.css_first("html")
    if html is not None:
        attributes = html.attributes
        language = attributes.get("lang") or attributes.get("xml:lang") or ""
    title = canonical = ""
    head = tree.head
    if head is not None:
        node = head.css_first("title")
        title = node.text() if node is not None else ""
        link = head.css_first("link[rel~=canonical i][href]")
        canonical = (link.attributes.get("href") or "") if link is not None else ""
    if not title.strip():
        node = tree.css_first("h1")
        title = node.text() if node is not None else ""
    return title, language, canonical


def _extract_body(tree: LexborHTMLParser, page: bytes, furniture: frozenset[str]) -> tuple[list[Block], list[str]]:
    body = tree.body
    if body is None:
        return [], []
    survey = _survey(body, furniture, look_closely=any(sign in page for sign in _SIGNS_OF_FURNITURE_IN_LINE))
    for node in survey.furniture:
        node.decompose()
    for node in survey.breaks:
        node.insert_before("\n")
    root = find_main(body, survey.candidates)
    references = _take_references(root)
    blocks = list(_walk(root, is_mixed=survey.is_mixed, is_body=root.mem_id == body.mem_id))
    return blocks, references


def _take_references(root: LexborNode) -> list[str]:
    """Return where the anchors below ``root`` lead; those that only mark a heading (Sphinx's ¶) are removed."""
    references = []
    for node in root.css("a[href]"):
        attributes = node.attributes
        if "headerlink" in (attributes.get("class") or ""):
            node.decompose()
        elif href := attributes.get("href"):
            references.append(href)
    return references


@dataclass(slots=True)
class _Survey:
    """What one pass over the page's elements finds. ``is_mixed``: an inline element or a paragraph holds a block."""

    furniture: list[LexborNode] = field(default_factory=list)
    breaks: list[LexborNode] = field(default_factory=list)
    candidates: list[tuple[LexborNode, bool]] = field(default_factory=list)
    is_mixed: bool = False


def _survey(body: LexborNode, furniture_names: frozenset[str], *, look_closely: bool) -> _Survey:
    # CSS selectors for all of this take ten times as long as this pass: lexbor tries each one at each element
    codes = _codes()
    survey = _Survey()
    named: list[LexborNode] = []
    mixed: list[LexborNode] = []
    body_id = body.mem_id  # == compares the serialised markup
    skipped = frozenset(
        tag for tag, code in codes.items() if code in _IN_LINES and not (look_closely and code != _IN_LINE)
    )
    # the attributes of paragraphs and cells are worth their time only where something is hidden
    plain = frozenset() if look_closely else _plain_tags()
    for node in body.traverse():
        tag = node.tag_id
        if tag in skipped:
            continue
        code = codes.get(tag, _CONTAINER)
        if code == _BREAK:
            survey.breaks.append(node)
            continue
        if code == _FURNITURE:
            survey.furniture.append(node)
            continue
        if not survey.is_mixed and code not in _IN_LINES and code != _NOTHING:
            parent = node.parent
            above = codes.get(parent.tag_id, _CONTAINER) if parent is not None else _CONTAINER
            if above in _IN_LINES or above == _PARAGRAPH or above <= len(_HEADINGS):
                mixed.append(node)
                survey.is_mixed = len(mixed) == _MIXED_LIMIT
        if tag in plain:
            continue
        attributes = node.attributes
        if not attributes and code != _MAIN:
            continue
        if node.mem_id == body_id:  # <body hidden> is how some frameworks wait for their scripts
            continue
        names = (attributes.get("class") or "").split()
        names.append(attributes.get("id") or "")
        role = attributes.get("role") or ""
        if _is_hidden(attributes) or role in _FURNITURE_ROLES:
            survey.furniture.append(node)
        elif not furniture_names.isdisjoint(names) and code not in (_MAIN, *_HEADINGS.values()):
            named.append(node)
        elif code == _MAIN or role in ("main", "article") or not _MAIN_NAMES.isdisjoint(names):
            survey.candidates.append((node, role == "main" or node.tag == "main"))
    survey.furniture += [node for node in named if node.tag in ("a", "span") or node.css_first(_HOLDS_CONTENT) is None]
    # the usual case is a search form in a menu, which goes with the menu
    dropped = {node.mem_id for node in survey.furniture}
    survey.is_mixed = survey.is_mixed or not all(_lies_within(node, dropped) for node in mixed)
    return survey


def _lies_within(node: LexborNode, dropped: set[int]) -> bool:
    above: LexborNode | None = node
    while above is not None:
        if above.mem_id in dropped:
            return True
        above = above.parent
    return False


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or ("style" in attributes and _NOT_DISPLAYED.search(attributes["style"] or "") is not None)
    )


def find_main(body: LexborNode, candidates: list[tuple[LexborNode, bool]]) -> LexborNode:
    """Return the element that holds the main content, judged by the length of its text; else ``body``.

    Each candidate comes with whether the page itself calls it the main content.
    """
    if not candidates:
        return body
    measured = [(len(node.text()), node, is_main) for node, is_main in candidates[:_CANDIDATE_LIMIT]]
    largest = max(length for length, _, _ in measured)
    if largest < _BODY_SHARE * len(body.text()):
        claimed = [(length, node) for length, node, is_main in measured if is_main and length >= _MAIN_LENGTH]
        return max(claimed, key=lambda pair: pair[0])[1] if claimed else body
    sufficient = [(length, node) for length, node, _ in measured if length >= _INNER_SHARE * largest]
    return min(sufficient, key=lambda pair: pair[0])[1]


@cache
def _codes() -> dict[int, int]:
    """Return what the walk does at each tag, by lexbor's number of the tag; other tags are containers."""
    tree = LexborHTMLParser("<body>")
    codes: dict[str, int] = dict.fromkeys(_INLINE.split(), _IN_LINE)
    codes |= _HEADINGS | {"span": _SPAN, "a": _ANCHOR, "br": _BREAK, "main": _MAIN, "article": _MAIN}
    codes |= dict.fromkeys(_NEVER.split(), _FURNITURE)
    codes |= dict.fromkeys(["p", "dt"], _PARAGRAPH)
    codes |= {"pre": _LISTING, "table": _TABLE, "tr": _ROW, "form": _FORM, "header": _HEADER}
    codes |= dict.fromkeys(["head", "title", "col", "colgroup", "hr", "frameset"], _NOTHING)
    by_id = {tree.create_node(tag).tag_id: code for tag, code in codes.items()}
    text = LexborHTMLParser("<p>x").css_first("p")
    if text is not None and text.first_child is not None:
        by_id[text.first_child.tag_id] = _TEXT
    comment = LexborHTMLParser("<p><!--x-->").css_first("p")
    if comment is not None and comment.first_child is not None:
        by_id[comment.first_child.tag_id] = _NOTHING
    return by_id


@cache
def _plain_tags() -> frozenset[int]:
    tree = LexborHTMLParser("<body>")
    return frozenset(tree.create_node(tag).tag_id for tag in _PLAIN)


def _walk(root: LexborNode, *, is_mixed: bool, is_body: bool) -> Iterator[Block]:
    """Give the blocks below ``root`` in document order, each piece of text once.

    ``is_mixed`` says that somewhere an inline element or a paragraph holds a block, so that each has to be
    looked at; otherwise their text is taken in one go.
    """
    codes = _codes()
    run: list[str] = []  # the text since the last block began or ended
    data_tables: set[int] = set()  # depths of the stack at which rows are lines
    stack: list[tuple[Iterator[LexborNode], bool]] = [(root.iter(include_text=True), True)]
    while stack:
        children, ends_block = stack[-1]
        for node in children:
            code = codes.get(node.tag_id, _CONTAINER)
            if code == _TEXT:
                run.append(node.text_content or "")
                continue
            if code in _IN_LINES:
                if is_mixed and node.css_first(_BLOCKS) is not None:
                    stack.append((node.iter(include_text=True), False))
                    break
                run.append(node.text())
                continue
            if code in (_NOTHING, _FURNITURE, _BREAK):
                continue
            if run and (text := " ".join("".join(run).split())):
                yield Block("text", 0, text)
            run.clear()
            if code == _PARAGRAPH and not (is_mixed and _holds_block(node)):
                if text := " ".join(node.text().split()):
                    yield Block("text", 0, text)
            elif code <= len(_HEADINGS):
                if text := " ".join(node.text(separator=" " if _holds_block(node) else "").split()):
                    yield Block("heading", code, text)
            elif code == _LISTING:
                if text := _read_listing(node):
                    yield Block("text", 0, text)
            elif code == _ROW and len(stack) in data_tables:
                if text := _read_row(node, is_mixed=is_mixed):
                    yield Block("text", 0, text)
            elif (code == _FORM and len(node.text()) * 2 <= len(root.text())) or (
                code == _HEADER and is_body and len(stack) <= _SITE_HEADER_DEPTH
            ):
                continue
            else:
                stack.append((node.iter(include_text=True), True))
                # rows lie in <tbody> and the like, one level below the table
                if code == _TABLE and len(node.css(_NOT_FOR_ROWS)) == 1:
                    data_tables |= {len(stack), len(stack) + 1}
                break
        else:
            if ends_block:
                if run and (text := " ".join("".join(run).split())):
                    yield Block("text", 0, text)
                run.clear()
            data_tables.discard(len(stack) + 1)
            stack.pop()


def _holds_block(node: LexborNode) -> bool:
    found = node.css(_BLOCKS)
    return len(found) > 1 or (len(found) == 1 and found[0].mem_id != node.mem_id)


def _read_listing(node: LexborNode) -> str:
    """Return the text of a <pre> with its line breaks, without empty lines at either end."""
    lines = [line.rstrip() for line in node.text().splitlines()]
    return "\n".join(lines).strip("\n")


def _read_row(row: LexborNode, *, is_mixed: bool) -> str:
    """Return a table row as one line, its filled cells parted by bars."""
    codes = _codes()
    plain = (_TEXT, _PARAGRAPH, *_IN_LINES)
    cells = []
    for cell in row.iter():
        child = cell.first_child
        if child is None:
            continue
        if child.next is None and codes.get(child.tag_id) in plain and not is_mixed:
            text = " ".join(child.text().split())
        else:
            # a cell holds no table and no listing here, so this goes one level deep
            text = " ".join([block.text for block in _walk(cell, is_mixed=is_mixed, is_body=False)])
        if text:
            cells.append(text)
    return " | ".join(cells)
