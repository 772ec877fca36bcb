"""Find the main content of a page, and its furniture: navigation, banners, hidden elements.

CSS selectors for all of this take ten times as long as the single pass below, since lexbor tries each one at each
element.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from selectolax.lexbor import LexborNode

from kbjobs.content.html_tags import (
    ASIDE,
    BREAK,
    FURNITURE,
    HEADINGS,
    MAIN,
    TABLE,
    block_holders,
    block_tags,
    codes,
    in_line_tags,
    plain_tags,
    rowless_tags,
)

# Class names of Sphinx, Read the Docs, DocBook, MediaWiki, Bootstrap and WordPress.
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
        "navheader",
        "navfooter",
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
# Names of an <aside> that belongs to the text, as Sphinx's footnotes do; "doc-…" are the roles of DPUB-ARIA.
_NOTES = frozenset(["footnote", "footnotes", "footnote-list", "endnotes", "admonition", "note", "topic", "callout"])
_NOT_DISPLAYED = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_HIDING = frozenset(["hidden", "aria-hidden", "style"])  # attributes that may hide an element
_TELLING = _HIDING | {"class", "id", "role"}
_SIGNS_OF_FURNITURE_IN_LINE = (b"hidden", b"noprint", b"display:none", b"display: none", b"mw-editsection")
_TOP = 32_768  # bytes at the start in which a link that skips the navigation may be

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
_CONTENT_IDS = ("content", "mw-content-text")  # an element that holds one is furniture only by name, and is kept
_CANDIDATE_LIMIT = 40
_INNER_SHARE = 0.8  # a smaller candidate is chosen if it holds this share of the largest one's text
_BODY_SHARE = 0.3  # a candidate with a smaller share of the body's text is not the content …
_EQUAL_SHARE = 0.5  # if a separate candidate has this share of its text, both are content: a list of articles
_CLIMB_LIMIT = 10
_MANY_LINKS = 5
_LINK_LIST = 0.6  # a list with that many links, which make up this share of its text, is a list of links …
_LINK_PAGE = 0.5  # … unless links are more than this share of the whole page, or less than …
_FEW_LINKS = 0.05
_INDEX_LINKS = 1_000  # more make an index
_LIST_TAGS = frozenset(["div", "ul", "ol", "table", "tbody", "tr", "td", "section", "center", "p"])
_MAIN_LENGTH = 250  # … unless the page marks it (<main>) and it has at least that many characters


class Doubt(IntEnum):
    """What is not believed of a page's markup: nothing, class names, or also tags and hiding."""

    NONE = 0
    NAMES = 1
    LAYOUT = 2


@dataclass(slots=True)
class Survey:
    """The result of one pass over the page's elements.

    ``holders`` are elements that hold a block where a line of text is usual, ``layout_tables`` elements that hold a
    table, listing or heading; both by ``mem_id``. Each candidate has a flag: whether the page calls it the main
    content.
    """

    furniture: list[LexborNode] = field(default_factory=list)
    breaks: list[LexborNode] = field(default_factory=list)
    candidates: list[tuple[LexborNode, bool]] = field(default_factory=list)
    holders: set[int] = field(default_factory=set)
    layout_tables: set[int] = field(default_factory=set)
    has_tables: bool = False
    has_numbered_listing: bool = False  # set by the walk


def survey_body(body: LexborNode, page: bytes, doubt: Doubt) -> Survey:
    """Examine each element of a page's body once.

    Args:
        body: the element to look below.
        page: the page's markup.
        doubt: how much of the markup's claims about its parts not to believe.
    """
    tag_codes, blocks, usual_holders = codes(), block_tags(), block_holders()
    rowless = rowless_tags()
    look_closely = b"skip" in page[:_TOP] or any(sign in page for sign in _SIGNS_OF_FURNITURE_IN_LINE)
    # reading the attributes of paragraphs and cells only pays if something is hidden
    skipped = in_line_tags(with_names=False) if look_closely else in_line_tags(with_names=True) | plain_tags() - blocks
    plain = frozenset() if look_closely else plain_tags()
    survey = Survey()
    claims = _Claims(survey, body, doubt)
    misplaced: list[LexborNode] = []
    not_rows: list[LexborNode] = []
    for node in body.traverse():
        tag = node.tag_id
        if tag in skipped:
            continue
        code = tag_codes.get(tag)
        if code == BREAK:
            survey.breaks.append(node)
            continue
        if code == FURNITURE:
            survey.furniture.append(node)
            continue
        if tag in blocks:
            parent = node.parent
            if parent is not None and parent.tag_id not in usual_holders:
                misplaced.append(node)
            if tag in rowless:
                not_rows.append(node)
        if tag not in plain and (not _TELLING.isdisjoint(attributes := node.attributes) or code in (MAIN, ASIDE)):
            claims.hear(node, code, attributes)
    claims.resolve()
    # usually this is a search form in a menu, which is removed with the menu
    dropped = {node.mem_id for node in survey.furniture}
    survey.holders = _mark_above(misplaced, dropped)
    survey.has_tables = any(tag_codes[node.tag_id] == TABLE for node in not_rows)
    if survey.has_tables:
        survey.layout_tables = _mark_above(not_rows, dropped)
    return survey


class _Claims:
    """What elements claim to be, by tag, role, class and id: furniture or the main content."""

    def __init__(self, survey: Survey, body: LexborNode, doubt: Doubt) -> None:
        self._survey = survey
        self._believed_names = _FURNITURE_NAMES if doubt < Doubt.NAMES else frozenset()
        self._believes_layout = doubt < Doubt.LAYOUT
        self._body_id = body.mem_id  # == compares the serialised markup
        self._named: list[LexborNode] = []
        self._contents: list[LexborNode] = []

    def hear(self, node: LexborNode, code: int | None, attributes: dict[str, str | None]) -> None:
        """Record an element's claim."""
        if node.mem_id == self._body_id:  # <body hidden>: some frameworks hide it until their scripts run
            return
        names = (attributes.get("class") or "").split()
        names.append(attributes.get("id") or "")
        role = attributes.get("role") or ""
        if self._believes_layout and (
            (not _HIDING.isdisjoint(attributes) and _is_hidden(attributes))
            or role in _FURNITURE_ROLES
            or (code == ASIDE and not _is_note(names, role))
        ):
            self._survey.furniture.append(node)
        elif not self._believed_names.isdisjoint(names) and code not in (MAIN, *HEADINGS.values()):
            self._named.append(node)
        elif code == MAIN or role in ("main", "article") or not _MAIN_NAMES.isdisjoint(names):
            self._survey.candidates.append((node, role == "main" or node.tag == "main"))
            if code == MAIN or role == "main" or names[-1] in _CONTENT_IDS:
                self._contents.append(node)

    def resolve(self) -> None:
        """Add elements to the furniture that are named so, except those that hold the content."""
        holds_content = _mark_above(self._contents, set())
        self._survey.furniture += [
            node for node in self._named if node.tag in ("a", "span") or node.mem_id not in holds_content
        ]


def _mark_above(nodes: Iterable[LexborNode], dropped: set[int]) -> set[int]:
    """Return the elements above ``nodes``, except for nodes in dropped elements. No element is visited twice."""
    marked: set[int] = set()
    lost = set(dropped)
    for node in nodes:
        path: list[int] = []
        above: LexborNode | None = node
        while above is not None and (key := above.mem_id) not in marked and key not in lost:
            path.append(key)
            above = above.parent
        (lost if above is not None and above.mem_id in lost else marked).update(path[1:])
    return marked


def _is_note(names: list[str], role: str) -> bool:
    return role.startswith("doc-") or role == "note" or not _NOTES.isdisjoint(names)


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or ("style" in attributes and _NOT_DISPLAYED.search(attributes["style"] or "") is not None)
    )


def find_main(body: LexborNode, candidates: list[tuple[LexborNode, bool]]) -> LexborNode:
    """Return the element that holds the main content, judged by the length of its text, or else ``body``.

    Each candidate has a flag: whether the page itself calls it the main content.
    """
    if not candidates:
        return body
    measured = [(len(node.text()), node, is_main) for node, is_main in candidates[:_CANDIDATE_LIMIT]]
    largest = max(length for length, _, _ in measured)
    if largest < _BODY_SHARE * len(body.text()):
        claimed = [(length, node) for length, node, is_main in measured if is_main and length >= _MAIN_LENGTH]
        return max(claimed, key=lambda pair: pair[0])[1] if claimed else body
    sufficient = [(length, node) for length, node, _ in measured if length >= _INNER_SHARE * largest]
    length, chosen = min(sufficient, key=lambda pair: pair[0])
    others = [other for other, node, _ in measured if other >= _EQUAL_SHARE * length and _are_apart(chosen, node)]
    return _climb(chosen, length + max(others), body) if others else chosen


def _are_apart(one: LexborNode, other: LexborNode) -> bool:
    return not _lies_within(one, other.mem_id) and not _lies_within(other, one.mem_id)


def _lies_within(node: LexborNode, outer: int) -> bool:
    above: LexborNode | None = node
    while above is not None and above.mem_id != outer:
        above = above.parent
    return above is not None


def _climb(node: LexborNode, length: int, body: LexborNode) -> LexborNode:
    """Return the nearest element above ``node`` with that much text; ``body`` if it is far above."""
    for _ in range(_CLIMB_LIMIT):
        above = node.parent
        if above is None or above.mem_id == body.mem_id:
            break
        node = above
        if len(node.text()) >= length:
            return node
    return body


def drop_link_lists(body: LexborNode) -> None:
    """Remove elements that are mostly links, such as menus and boxes of related pages, if no part is marked as content.

    A list right below a heading stays, and everything stays if links make up most of the page, or little of it.
    """
    links = body.css("a")
    if not _MANY_LINKS <= len(links) <= _INDEX_LINKS:
        return
    share = sum([len(link.text()) for link in links]) / max(1, len(body.text()))
    if not _FEW_LINKS <= share <= _LINK_PAGE:
        return
    lengths: dict[int, tuple[int, int]] = {}
    above_links: dict[int, LexborNode] = {}
    for link in links:
        length = len(" ".join(link.text().split()))
        above = link.parent
        for _ in range(_CLIMB_LIMIT):
            if above is None or above.mem_id == body.mem_id:
                break
            count, total = lengths.get(above.mem_id, (0, 0))
            lengths[above.mem_id] = count + 1, total + length
            above_links[above.mem_id] = above
            above = above.parent
    for key, (count, total) in lengths.items():
        node = above_links[key]
        if (
            count >= _MANY_LINKS
            and node.tag in _LIST_TAGS
            and not _is_below_heading(node)
            and total >= _LINK_LIST * len(" ".join(node.text().split()))
        ):
            node.decompose()


def _is_below_heading(node: LexborNode) -> bool:
    before = node.prev
    while before is not None and before.tag == "-text":
        before = before.prev
    return before is not None and before.tag in HEADINGS
