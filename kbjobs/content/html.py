"""Extract an HTML page as blocks of text: the main content, without navigation, in document order.

The parser is selectolax's lexbor, which treats broken markup like browsers do. The walk below keeps its own stack, so
that a page may nest its tags as deep as it likes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from selectolax.lexbor import LexborHTMLParser, LexborNode

from kbjobs.content.about import hear_marks, hear_text, read_claims
from kbjobs.content.document import Block, Extract
from kbjobs.content.html_tags import (
    BREAK,
    CONTAINER,
    FORM,
    FURNITURE,
    HEADER,
    HEADINGS,
    IN_LINES,
    LISTING,
    NOTHING,
    PARAGRAPH,
    ROW,
    TABLE,
    TEXT,
    codes,
)
from kbjobs.content.main_content import Doubt, Survey, drop_link_lists, find_main, survey_body
from kbjobs.content.nesting import prepare_page
from kbjobs.content.outline import BlockTaker, Outline, PageFacts
from kbjobs.content.page_kind import is_documentation, is_plain, is_thread
from kbjobs.content.readable import drop_line_numbers, has_line_numbers, read_lines, read_listing, write_formulas

MAX_BLOCKS = 20_000
"""The most blocks to choose among: a page with more is a list of data, and describing all would take gigabytes."""

_SITE_HEADER_DEPTH = 3  # a <header> this near to the top of <body> is the site's; a deeper one is an article's

# Marked furniture is content if it holds this much text outside of links …
_ARTICLES = frozenset(["article", "news"])
_PROSE = 250  # characters
_PROSE_SHARE = 8  # … and this many times the text that is kept without it
_NO_TEXT = frozenset(["script", "style", "svg", "template"])
_PASSED_OVER = frozenset([NOTHING, FURNITURE, BREAK])
_SILENT = Block("text", 0, "")
_LAYOUT_TAG = re.compile(rb"<(/?)(?:nav|aside|header|footer|form|dialog|noscript)(?=[\s>/])", re.IGNORECASE)

_SELF_CLOSED = re.compile(
    rb"<(script|title|style|textarea|iframe|noscript|div|span|a|p|i|b|em|td|th|li|ul)(\s[^<>]*)?/>"
)


def extract_html(page: bytes, *, is_xml: bool = False, keeps_comments: bool = False) -> Extract:
    """Extract title, language, claimed address, blocks and references of a page; references only from the main content.

    Args:
        page: the page as UTF-8.
        is_xml: whether ``<div/>`` closes itself.
        keeps_comments: whether readers' comments are part of the text.

    Raises:
        TooDeeplyNested: the page is made to keep the parser busy.
    """
    reading = read_html(page, is_xml=is_xml)
    if reading.outline is None or not 0 < len(reading.outline.blocks) <= MAX_BLOCKS:
        return reading.extract
    from kbjobs.content.block_choice import choose_main  # imports numpy, which documentation pages do not need

    return replace(reading.extract, blocks=choose_main(reading.outline, reading.facts, keeps_comments=keeps_comments))


@dataclass(frozen=True, slots=True)
class HtmlReading:
    """A page without its furniture. ``outline`` is None if all of its text is kept."""

    extract: Extract
    outline: Outline | None
    facts: PageFacts


def read_html(page: bytes, *, is_xml: bool = False) -> HtmlReading:
    """Read a page as :func:`extract_html` does, except for choosing among its blocks."""
    page = prepare_page(page)
    if is_xml:
        page = _SELF_CLOSED.sub(rb"<\1\2></\1>", page)
    is_manual = is_documentation(page)  # has no byline, and dates in its text are not its own
    records = not is_manual and not is_plain(page)
    tree = LexborHTMLParser(page)
    title, language, canonical = _read_head(tree)
    claims = read_claims(tree, page)
    if not is_manual and tree.body is not None:
        hear_marks(claims, tree.body, page)
    found = _extract_body(tree, page, Doubt.NONE, records=records)
    if found.dropped + found.length >= found.wanted_prose or not found.blocks:
        found = _look_again(page, found, records=records)
    if not is_manual and tree.body is not None:
        hear_text(claims, tree.body, page, title, canonical)
    blocks = found.blocks
    _drop_soft_hyphens(blocks)
    facts = PageFacts(title, claims.article_body, claims.about.kind in _ARTICLES, records and is_thread(page))
    extract = Extract(title, language, canonical, blocks, found.references, claims.conclude())
    return HtmlReading(extract, found.outline, facts)


def read_whole_page(page: bytes, *, is_xml: bool = False) -> Extract:
    """Read a page that is text from end to end, a chapter or a letter: no part of it is taken for furniture.

    Args:
        page: the page as UTF-8.
        is_xml: whether ``<div/>`` closes itself.

    Raises:
        TooDeeplyNested: the page is made to keep the parser busy.
    """
    page = prepare_page(page)
    if is_xml:
        page = _SELF_CLOSED.sub(rb"<\1\2></\1>", page)
    page = _LAYOUT_TAG.sub(rb"<\1div", page)
    tree = LexborHTMLParser(page)
    title, language, canonical = _read_head(tree)
    found = _extract_body(tree, page, Doubt.NAMES, is_whole=True)
    _drop_soft_hyphens(found.blocks)
    return Extract(title, language, canonical, found.blocks, found.references)


def _drop_soft_hyphens(blocks: list[Block]) -> None:
    """Remove soft hyphens, which would split words for the search."""
    if any("\xad" in block.text for block in blocks):
        blocks[:] = [block._replace(text=block.text.replace("\xad", "")) for block in blocks]


@dataclass(frozen=True, slots=True)
class _Found:
    """The text of a page's body, and how many non-link characters were ``dropped`` as furniture, or more.

    Short pieces of furniture are counted with their links.
    """

    blocks: list[Block]
    references: list[str]
    root: LexborNode | None = None
    dropped: int = 0
    outline: Outline | None = None

    @property
    def length(self) -> int:
        """The number of characters of its blocks."""
        return sum([len(block.text) for block in self.blocks])

    @property
    def wanted_prose(self) -> int:
        """The number of prose characters that another look must find to be believed."""
        return max(_PROSE, _PROSE_SHARE * self.length)

    @property
    def prose(self) -> int:
        """The number of characters outside of links."""
        return self.length - (_measure_links(self.root) if self.root is not None else 0)


def _measure_links(node: LexborNode) -> int:
    return sum([len(" ".join(link.text().split())) for link in node.css("a")])


def _look_again(page: bytes, found: _Found, *, records: bool) -> _Found:
    """Read again a page whose class names, tags or styles hide its content.

    The whole page may be in a ``<div class="sidebar">``, in ``<aside>`` or in ``<noscript>``, or be hidden until a
    script runs. Returns ``found`` if the page has no more text than menus and footers have.
    """
    named = _extract_body(LexborHTMLParser(page), page, Doubt.NAMES, records=records)
    if named.prose >= found.wanted_prose or (named.blocks and not found.blocks):
        return named
    page = _LAYOUT_TAG.sub(rb"<\1div", page)
    shown = _extract_body(LexborHTMLParser(page), page, Doubt.LAYOUT, records=records)
    return shown if shown.prose >= found.wanted_prose else found


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


def _extract_body(
    tree: LexborHTMLParser, page: bytes, doubt: Doubt, *, records: bool = False, is_whole: bool = False
) -> _Found:
    body = tree.body
    if body is None:
        return _Found([], [])
    write_formulas(body, page)
    survey = survey_body(body, page, doubt)
    dropped = 0
    for node in survey.furniture:
        if node.tag not in _NO_TEXT:
            text = node.text()
            dropped += len(text) if len(text) < _PROSE else len(" ".join(text.split())) - _measure_links(node)
        node.decompose()
    for node in survey.breaks:
        node.insert_before("\n")
    root = body if is_whole else find_main(body, survey.candidates)
    is_body = root.mem_id == body.mem_id
    if is_body and not doubt:
        drop_link_lists(body)
    references = _take_references(root)
    taker = Outline(root) if records else BlockTaker()
    _walk(root, survey, frozenset(), taker, is_body=is_body)
    if has_line_numbers(page, begins_with_number=survey.has_numbered_listing, has_tables=survey.has_tables):
        listings = drop_line_numbers(root)
        taker = Outline(root) if records else BlockTaker()
        _walk(root, survey, listings, taker, is_body=is_body)
    blocks = taker.blocks
    if sum([len(block.text) for block in blocks]) < _PROSE:
        dropped += len(body.text())  # text that the walk skips
    return _Found(blocks, references, root, dropped, taker if isinstance(taker, Outline) else None)


def _take_references(root: LexborNode) -> list[str]:
    """Return the targets of the anchors below ``root``; anchors that only mark a heading (Sphinx's ¶) are removed."""
    references = []
    for node in root.css("a[href]"):
        attributes = node.attributes
        if "headerlink" in (attributes.get("class") or ""):
            node.decompose()
        elif href := attributes.get("href"):
            references.append(href)
    return references


def _walk(root: LexborNode, survey: Survey, listings: frozenset[int], taker: BlockTaker, *, is_body: bool) -> None:
    """Pass on the blocks below ``root`` in document order, each piece of text once.

    Args:
        root: the element to walk.
        survey: what was found on the page.
        listings: the tables whose rows are lines of code.
        taker: receives the blocks, and the elements that hold them.
        is_body: whether ``root`` is the page's whole body.
    """
    tag_codes, holders = codes(), survey.holders
    reader = _BlockReader(root, survey, listings, is_body=is_body)
    run = taker.run
    stack: list[tuple[Iterator[LexborNode], bool]] = [(root.iter(include_text=True), True)]
    while stack:
        children, ends_block = stack[-1]
        for node in children:
            code = tag_codes.get(node.tag_id, CONTAINER)
            if code == TEXT:
                run.append(node.text_content or "")
            elif code in IN_LINES:
                if holders and node.mem_id in holders:
                    stack.append((node.iter(include_text=True), False))
                    taker.enter(node)
                    break
                run.append(node.text())
                taker.linked_run += taker.count_links(node)
            elif code not in _PASSED_OVER:
                taker.end_run()
                block = reader.read(node, code, len(stack))
                if block is None:
                    stack.append((node.iter(include_text=True), True))
                    reader.enter(node, code, len(stack))
                    taker.enter(node)
                    break
                if block.text:
                    taker.add(block, code, taker.count_links(node), node)
        else:
            if ends_block:
                taker.end_run()
            reader.leave(len(stack))
            taker.leave()
            stack.pop()


class _BlockReader:
    """Makes a block of each element that is one; whether it is one depends on its place."""

    def __init__(self, root: LexborNode, survey: Survey, listings: frozenset[int], *, is_body: bool) -> None:
        self._root, self._survey, self._listings, self._is_body = root, survey, listings, is_body
        self._holders = survey.holders
        self._data_tables: set[int] = set()  # depths at which rows become lines
        self._half_of_root: int | None = None

    def read(self, node: LexborNode, code: int, depth: int) -> Block | None:
        """Return the element's block, without text if it says nothing; None if the element holds other blocks."""
        holds_block = bool(self._holders) and node.mem_id in self._holders
        if code == PARAGRAPH:
            return None if holds_block else Block("text", 0, " ".join(node.text().split()))
        if code <= len(HEADINGS):
            return Block("heading", code, " ".join(node.text(separator=" " if holds_block else "").split()))
        if code == LISTING:
            text = read_listing(node)
            self._survey.has_numbered_listing |= text.lstrip()[:1].isdecimal()
            return Block("text", 0, text)
        if code == ROW and depth in self._data_tables:
            return Block("text", 0, _read_row(node, self._survey, self._listings))
        if code == TABLE and self._listings and node.mem_id in self._listings:
            return Block("text", 0, read_lines(node))
        is_left_out = (code == HEADER and self._is_site_header(depth)) or (code == FORM and not self._is_most(node))
        return _SILENT if is_left_out else None

    def enter(self, node: LexborNode, code: int, depth: int) -> None:
        """Record that the following elements, at this depth, are within ``node``."""
        if code == TABLE and node.mem_id not in self._survey.layout_tables:
            # rows are in <tbody> and the like, one level below the table
            self._data_tables |= {depth, depth + 1}

    def leave(self, depth: int) -> None:
        """Record that nothing more follows at this depth."""
        self._data_tables.discard(depth + 1)

    def _is_site_header(self, depth: int) -> bool:
        return self._is_body and depth <= _SITE_HEADER_DEPTH

    def _is_most(self, form: LexborNode) -> bool:
        """Whether the form holds more than half of the text, as on pages that are one form."""
        if self._half_of_root is None:
            self._half_of_root = len(self._root.text()) // 2
        return len(form.text()) > self._half_of_root


def _read_row(row: LexborNode, survey: Survey, listings: frozenset[int]) -> str:
    """Return a table row as one line, with bars between its non-empty cells."""
    tag_codes = codes()
    plain = (TEXT, PARAGRAPH, *IN_LINES)
    cells = []
    for cell in row.iter():
        child = cell.first_child
        if child is None:
            continue
        if child.next is None and tag_codes.get(child.tag_id) in plain and child.mem_id not in survey.holders:
            text = " ".join(child.text().split())
        else:
            # this cell holds no table and no listing, so the recursion is one level deep
            within = BlockTaker()
            _walk(cell, survey, listings, within, is_body=False)
            text = " ".join([block.text for block in within.blocks])
        if text:
            cells.append(text)
    return " | ".join(cells)
