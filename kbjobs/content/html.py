"""An HTML page as blocks of text: the main content, without navigation, in document order.

The parser is selectolax's lexbor, which does what browsers do with broken markup. The walk below keeps its
own stack: a page may nest its tags as deep as it likes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser, LexborNode

from kbjobs.content.about import read_about
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
from kbjobs.content.readable import drop_line_numbers, has_line_numbers, read_lines, read_listing, write_formulas

_SITE_HEADER_DEPTH = 3  # a <header> so near the top of <body> is the site's, deeper it is an article's

# What a page calls furniture is content if it holds so much text that is no link …
_PROSE = 250  # characters
_PROSE_SHARE = 8  # … and so many times what is kept without it
_NO_TEXT = frozenset(["script", "style", "svg", "template"])
_PASSED_OVER = frozenset([NOTHING, FURNITURE, BREAK])
_SILENT = Block("text", 0, "")
_LAYOUT_TAG = re.compile(rb"<(/?)(?:nav|aside|header|footer|form|dialog|noscript)(?=[\s>/])", re.IGNORECASE)

_SELF_CLOSED = re.compile(
    rb"<(script|title|style|textarea|iframe|noscript|div|span|a|p|i|b|em|td|th|li|ul)(\s[^<>]*)?/>"
)


def extract_html(page: bytes, *, is_xml: bool = False) -> Extract:
    """Return title, language, claimed address, blocks and references of ``page`` (UTF-8).

    References are those of the main content only. ``is_xml`` says that ``<div/>`` closes itself.
    Raises TooDeeplyNested for a page made to keep the parser busy.
    """
    page = prepare_page(page)
    if is_xml:
        page = _SELF_CLOSED.sub(rb"<\1\2></\1>", page)
    tree = LexborHTMLParser(page)
    title, language, canonical = _read_head(tree)
    about = read_about(tree, page)
    found = _extract_body(tree, page, Doubt.NONE)
    if found.dropped >= found.wanted_prose or not found.blocks:
        found = _look_again(page, found)
    blocks = found.blocks
    if any("\xad" in block.text for block in blocks):  # soft hyphens would part words for the search
        blocks = [block._replace(text=block.text.replace("\xad", "")) for block in blocks]
    return Extract(title, language, canonical, blocks, found.references, about)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a page's body says, and how many characters were ``dropped`` as furniture."""

    blocks: list[Block]
    references: list[str]
    root: LexborNode | None = None
    dropped: int = 0

    @property
    def wanted_prose(self) -> int:
        """How many characters of prose another look must find to be believed."""
        return max(_PROSE, _PROSE_SHARE * sum([len(block.text) for block in self.blocks]))

    @property
    def prose(self) -> int:
        """How many characters are no link."""
        links = self.root.css("a") if self.root is not None else []
        return sum([len(block.text) for block in self.blocks]) - sum([len(" ".join(a.text().split())) for a in links])


def _look_again(page: bytes, found: _Found) -> _Found:
    """Return what a page says that hides its content from those who believe its names, its tags and its styles.

    The whole page may sit in a ``<div class="sidebar">``, in ``<aside>`` or in ``<noscript>``, or be hidden until a
    script runs. That is ``found`` if there is no more text than menus and footers have.
    """
    named = _extract_body(LexborHTMLParser(page), page, Doubt.NAMES)
    if named.prose >= found.wanted_prose or (named.blocks and not found.blocks):
        return named
    page = _LAYOUT_TAG.sub(rb"<\1div", page)
    shown = _extract_body(LexborHTMLParser(page), page, Doubt.LAYOUT)
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


def _extract_body(tree: LexborHTMLParser, page: bytes, doubt: Doubt) -> _Found:
    body = tree.body
    if body is None:
        return _Found([], [])
    write_formulas(body, page)
    survey = survey_body(body, page, doubt)
    dropped = 0
    for node in survey.furniture:
        if node.tag not in _NO_TEXT:
            dropped += len(node.text())
        node.decompose()
    for node in survey.breaks:
        node.insert_before("\n")
    root = find_main(body, survey.candidates)
    is_body = root.mem_id == body.mem_id
    if is_body and not doubt:
        drop_link_lists(body)
    references = _take_references(root)
    blocks = list(_walk(root, survey, frozenset(), is_body=is_body))
    if has_line_numbers(page, begins_with_number=survey.has_numbered_listing, has_tables=survey.has_tables):
        blocks = list(_walk(root, survey, drop_line_numbers(root), is_body=is_body))
    if sum([len(block.text) for block in blocks]) < _PROSE:
        dropped += len(body.text())  # what the walk leaves out
    return _Found(blocks, references, root, dropped)


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


def _walk(root: LexborNode, survey: Survey, listings: frozenset[int], *, is_body: bool) -> Iterator[Block]:
    """Give the blocks below ``root`` in document order, each piece of text once.

    ``listings`` are the tables whose rows are lines of code.
    """
    tag_codes, holders = codes(), survey.holders
    reader = _BlockReader(root, survey, listings, is_body=is_body)
    run: list[str] = []  # the text since the last block began or ended
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
                    break
                run.append(node.text())
            elif code not in _PASSED_OVER:
                yield from _end_run(run)
                block = reader.read(node, code, len(stack))
                if block is None:
                    stack.append((node.iter(include_text=True), True))
                    reader.enter(node, code, len(stack))
                    break
                if block.text:
                    yield block
        else:
            if ends_block:
                yield from _end_run(run)
            reader.leave(len(stack))
            stack.pop()


def _end_run(run: list[str]) -> Iterator[Block]:
    """The block of text that has run up to here, if it says anything; the next begins empty."""
    if run and (text := " ".join("".join(run).split())):
        yield Block("text", 0, text)
    run.clear()


class _BlockReader:
    """Makes one block each of the elements that are one, and tells which are not, at the place where each stands."""

    def __init__(self, root: LexborNode, survey: Survey, listings: frozenset[int], *, is_body: bool) -> None:
        self._root, self._survey, self._listings, self._is_body = root, survey, listings, is_body
        self._holders = survey.holders
        self._data_tables: set[int] = set()  # depths at which rows are lines
        self._half_of_root: int | None = None

    def read(self, node: LexborNode, code: int, depth: int) -> Block | None:
        """Return the block that an element is, one without text if it says nothing; None if it holds others."""
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
        """Note that what follows, at this depth, is within ``node``."""
        if code == TABLE and node.mem_id not in self._survey.layout_tables:
            # rows lie in <tbody> and the like, one level below the table
            self._data_tables |= {depth, depth + 1}

    def leave(self, depth: int) -> None:
        """Note that nothing more follows at this depth."""
        self._data_tables.discard(depth + 1)

    def _is_site_header(self, depth: int) -> bool:
        return self._is_body and depth <= _SITE_HEADER_DEPTH

    def _is_most(self, form: LexborNode) -> bool:
        """Whether more than half of the text is in the form, as on pages that are one."""
        if self._half_of_root is None:
            self._half_of_root = len(self._root.text()) // 2
        return len(form.text()) > self._half_of_root


def _read_row(row: LexborNode, survey: Survey, listings: frozenset[int]) -> str:
    """Return a table row as one line, its filled cells parted by bars."""
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
            # a cell holds no table and no listing here, so this goes one level deep
            text = " ".join([block.text for block in _walk(cell, survey, listings, is_body=False)])
        if text:
            cells.append(text)
    return " | ".join(cells)
