"""A guard before the HTML parser: cuts or refuses pages made to keep it busy for minutes."""

from __future__ import annotations

import re

# lexbor looks through the open elements at every tag, so its time grows with tags times depth: 100,000
# nested <div> take 10 s, 10,000 take 0.1 s. Elements with an implied end do not pile up.
_TAG = re.compile(
    rb"<(/?)(?!(?:p|li|d[td]|t[rdh]|tbody|thead|tfoot|option|br|hr|img|input|link|meta|wbr|col|source|area)\b)"
    rb"[a-zA-Z]",
    re.IGNORECASE,
)
_FEW_TAGS = 30_000
_WORK_LIMIT = 500_000_000  # sum of the depths at all tags; about 1 s, and a page is parsed up to three times


MAX_ATTRIBUTES = 1_000
"""Of one tag. lexbor compares each one with all before it: 80,000 take 37 s, 1,000 a few milliseconds (measured)."""

MAX_TAGS = 2_000_000
"""Of one page; the longest manual pages have some hundred thousand."""

_LONG_TAG = 2 * MAX_ATTRIBUTES  # bytes; an attribute has at least a letter and a space
_BETWEEN = re.compile(rb"[\s/]+[^\s/]|\"[^\"]*\"?|'[^']*'?")
_MARKS_OF_ATTRIBUTES = (b" ", b"\n", b"\t", b"\r", b"\f", b"/", b'"', b"'")  # at least one precedes each attribute
_OPENING = re.compile(rb"<[a-zA-Z]")


class TooDeeplyNested(ValueError):
    """The page's tags are nested so deep that parsing would take minutes."""


def prepare_page(page: bytes) -> bytes:
    """Return the page without attributes beyond :data:`MAX_ATTRIBUTES` and tags beyond :data:`MAX_TAGS`.

    The time is proportional to the page's length. A crafted page may get more through, so its parser has a time limit
    as well. Raises TooDeeplyNested for a page that would use up that limit.
    """
    # Pages with few tags are not examined.
    tags = page.count(b"<") if len(page) > _FEW_TAGS * len(b"<b>") else 0
    if tags > MAX_TAGS:
        page = page[: len(page) - len(page.split(b"<", MAX_TAGS + 1)[-1]) - 1]
    page = _cut_long_tags(page)
    if tags > _FEW_TAGS and measure_work(page) > _WORK_LIMIT:
        raise TooDeeplyNested("tags are nested too deep: parsing them would take minutes")
    return page


def _cut_long_tags(page: bytes) -> bytes:
    # A tag mostly ends at ">". A long one has a whole window of half its length without it.
    window = _LONG_TAG // 2
    pieces: list[bytes] = []
    taken = start = 0
    while start < len(page) - window:
        if page.find(b">", start, start + window) >= 0:
            start += window
            continue
        begin = page.rfind(b">", taken, start) + 1 or taken
        end = page.find(b">", start)
        end = end if end >= 0 else len(page)
        if end - begin > _LONG_TAG:
            pieces += [page[taken:begin], _cut_attributes(page[begin:end])]
            taken = end
        start = end
    return b"".join([*pieces, page[taken:]]) if pieces else page


def _cut_attributes(piece: bytes) -> bytes:
    """Return the text before a ``>``, without the attributes beyond the limit."""
    opening = _OPENING.search(piece)
    if opening is None or sum(map(piece[opening.end() :].count, _MARKS_OF_ATTRIBUTES)) <= MAX_ATTRIBUTES:
        return piece
    count = 0
    for found in _BETWEEN.finditer(piece, opening.end()):
        count += found[0][:1] not in b"\"'"
        if count > MAX_ATTRIBUTES:
            return piece[: found.start()]
    return piece


def measure_work(page: bytes) -> int:
    """Return the sum of the nesting depths at all tags, with which lexbor's time may grow."""
    depth = work = 0
    for slash in _TAG.findall(page):
        if slash:
            depth -= depth > 0
        else:
            depth += 1
        work += depth
    return work
