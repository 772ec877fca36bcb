"""Turn lines on pages into blocks of text: drop running heads, join lines to paragraphs, place headings."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from kbjobs.content.document import Block


class PageLine(NamedTuple):
    """A line on its page, in points: ``height`` from the bottom, ``size`` of its font.

    Its text ends with U+FFFE, U+00AD or "-" if a word continues on the next line.
    """

    text: str
    left: float
    height: float
    right: float
    size: float


class OutlineEntry(NamedTuple):
    """An entry of the outline: ``level`` 1-6, ``page`` from 0, ``height`` in points from the bottom, if known."""

    level: int
    title: str
    page: int
    height: float | None


class _Paragraph(NamedTuple):
    page: int
    lines: list[str]


_PAGES_WITH_HEADS = 4  # documents with fewer pages keep everything
_SAME_HEIGHT = 2  # points
_EDGE_ROWS = 3  # rows at the top, and the same number at the bottom, that may be running heads
_NEAR = 2  # pages: left and right pages may have different heads
_REPEATS = 3  # pages on which a running head must occur
_PLACE_ROWS = 5  # a place holds heads if it is filled on at least that many pages …
_PLACE_SHARE = 0.6  # … of which at least this share has the same first or last words as a page nearby
_HEADING_LINES = 3
_NUMBERING = 14  # letters of "Chapter 12", "Abschnitt 3.2" or "A" before a heading

_WIDE_GAP = 1.35  # of the page's usual distance between lines: a new paragraph
_FAR_GAP = 3  # of the font size: another part of the page
_OTHER_SIZE = 1.12
_FULL_LINE = 0.85  # of how far right the page's text extends
_MARGIN_LINES = 4  # fewer lines do not show how far the text extends
_COMPARISONS = 200_000  # of lines with entries of the outline, on one page

_LIGATURES = re.compile("[\ufb00-\ufb06\ufb13-\ufb17]")
_LEADERS = re.compile(r"(?:\s?[.·…_]){5,}")  # the dots of a table of contents
_PAGE_NUMBER_LENGTH = 30
_NUMBER = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(r"[\W_]*(?:(\d{1,5})(?:[\W_]+\d{1,5})?|([ivxlc]{1,8}))[\W_]*", re.IGNORECASE)
_ITEM = re.compile(r"[•◦▪■●○‣⁃–—*·►➢✓]\s*\S|-\s+\S|\(?(?:\d{1,3}|[a-z])[.)]\s+\S|\d{1,3}(?:\.\d{1,3})+\.?\s+\S")
_SENTENCE_END = re.compile(r"[.!?:;…。！？：；][\"'”’»)\]]*$")
_WITHOUT_SPACES = re.compile("[\u2e80-\u312f\u3190-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST_WORD = re.compile(r"((?:[^\W\d_]+-)*[^\W\d_]+)[-\u00ad\ufffe]$")
_WORD_LENGTH = 100
_HYPHENS = ("-", "\u00ad", "\ufffe")
_NOT_SECOND_HALVES = frozenset(["and", "or", "to", "und", "oder", "bis", "et", "ou"])  # "pre- and post-"


def arrange(pages: Sequence[Sequence[PageLine]], outline: Sequence[OutlineEntry]) -> list[Block]:
    """Return the pages' lines as paragraphs, and the outline's entries as headings, each with its page from 1."""
    kept = drop_running_heads(pages)
    entries: dict[int, list[OutlineEntry]] = defaultdict(list)
    for entry in outline:
        entries[entry.page].append(entry)
    parts: list[_Paragraph | Block] = []
    for index, lines in enumerate(kept):
        tidied = [line._replace(text=text) for line in lines if (text := _tidy(line.text))]
        _add_page(parts, index, tidied, entries[index], _last_line(kept, index))
    known = _known_words([part.lines for part in parts if isinstance(part, _Paragraph)])
    blocks = []
    for part in parts:
        block = part if isinstance(part, Block) else Block("text", 0, join_lines(part.lines, known), part.page)
        if block.text:
            blocks.append(block)
    return blocks


def drop_running_heads(pages: Sequence[Sequence[PageLine]]) -> list[list[PageLine]]:
    """Return the pages without page numbers, and without lines that repeat at the edges of nearby pages.

    Numbers are treated as equal. If a place at the edge mostly holds such lines, its other lines are heads too, for
    example those of a chapter with a single page. A document of fewer than four pages is returned unchanged, and so is
    one of which less than half would be left.
    """
    kept = [list(lines) for lines in pages]
    if len(kept) < _PAGES_WITH_HEADS:
        return kept
    for at_top in (True, False):
        candidates = set(range(len(kept)))
        for _ in range(_EDGE_ROWS):
            rows = {index: _edge_row(kept[index], at_top=at_top) for index in candidates if kept[index]}
            candidates = _find_running(rows)
            for index in candidates:
                edge = rows[index][0].height
                kept[index] = [line for line in kept[index] if abs(line.height - edge) >= _SAME_HEIGHT]
    # pages that are all alike, such as forms, are not a book with running heads
    return kept if 2 * _count_letters(kept) >= _count_letters(pages) else [list(lines) for lines in pages]


def _count_letters(pages: Sequence[Sequence[PageLine]]) -> int:
    return sum(len(line.text) for lines in pages for line in lines)


def _edge_row(lines: Sequence[PageLine], *, at_top: bool) -> list[PageLine]:
    """Return the highest, or lowest, lines of a page, from left to right."""
    heights = [line.height for line in lines]
    edge = max(heights) if at_top else min(heights)
    row = sorted((line for line in lines if abs(line.height - edge) < _SAME_HEIGHT), key=lambda line: line.left)
    return [line._replace(height=edge) for line in row]


def _find_running(rows: dict[int, list[PageLine]]) -> set[int]:
    """Return the pages whose row is a running head or a page number."""
    texts = {index: " ".join(line.text for line in row).casefold() for index, row in rows.items()}
    masked = {index: _NUMBER.sub("#", text).split() for index, text in texts.items()}
    # rows of numbers alone may belong to a table; a page number counts the pages
    offsets = {index: number - index for index, text in texts.items() if (number := _page_number(text)) is not None}
    common = Counter(offsets.values())
    found = {index for index, offset in offsets.items() if common[offset] >= _REPEATS}
    worded = {index: words for index, words in masked.items() if any(map(str.isalpha, "".join(words)))}
    repeated = _find_repeated({index: " ".join(words) for index, words in worded.items()})
    counts = Counter(" ".join(worded[index]) for index in repeated)
    found |= {index for index in repeated if counts[" ".join(worded[index])] >= _REPEATS}
    places: dict[int, list[int]] = defaultdict(list)
    for index in worded:
        places[round(rows[index][0].height)].append(index)
    for place in places.values():
        if len(place) >= _PLACE_ROWS:
            alike = _find_repeated({index: " ".join(worded[index][:3]) for index in place})
            alike |= _find_repeated({index: " ".join(worded[index][-3:]) for index in place})
            if len(alike) >= _PLACE_SHARE * len(place):
                found.update(place)
    return found


def _find_repeated(texts: dict[int, str]) -> set[int]:
    """Return the pages whose text also occurs on a page nearby. "Chapter 3" on a chapter's first page does not."""
    pages: dict[str, list[int]] = defaultdict(list)
    for index in sorted(texts):
        pages[texts[index]].append(index)
    found = set()
    for its_pages in pages.values():
        for first, second in pairwise(its_pages):
            if second - first <= _NEAR:
                found |= {first, second}
    return found


def _page_number(text: str) -> int | None:
    number = _PAGE_NUMBER.fullmatch(text) if len(text) <= _PAGE_NUMBER_LENGTH else None
    if number is None:
        return None
    if number[1]:
        return int(number[1])
    values = [dict(zip("ivxlc", (1, 5, 10, 50, 100), strict=True))[letter] for letter in number[2]]
    following = [*values[1:], 0]
    return sum(-value if value < after else value for value, after in zip(values, following, strict=True))


def _tidy(text: str) -> str:
    text = " ".join(text.split())
    if text.isascii() and "." not in text:
        return text
    text = unicodedata.normalize("NFC", text)
    text = _LIGATURES.sub(lambda letter: unicodedata.normalize("NFKC", letter[0]), text)
    return _LEADERS.sub(" ", text).strip()


def _last_line(pages: Sequence[Sequence[PageLine]], index: int) -> PageLine | None:
    """Return the last line of the previous page if it is as long as a line within a paragraph."""
    if not index or not pages[index - 1]:
        return None
    last = pages[index - 1][-1]
    return last if last.right >= _FULL_LINE * max(line.right for line in pages[index - 1]) else None


def _add_page(
    parts: list[_Paragraph | Block],
    index: int,
    lines: Sequence[PageLine],
    entries: Sequence[OutlineEntry],
    before: PageLine | None,
) -> None:
    """Add a page's paragraphs and headings to those of the earlier pages."""
    headings, taken = _place_headings(lines, entries)
    margins = _find_margins(lines)
    gaps = [above.height - below.height for above, below in pairwise(lines)]
    usual = [gap / line.size for gap, line in zip(gaps, lines, strict=False) if 0 < gap < _FAR_GAP * line.size]
    usual_gap = median(usual) if usual else 0.0
    for number, line in enumerate(lines):
        parts += [Block("heading", entry.level, entry.title, index + 1) for entry in headings[number]]
        if number in taken:
            continue
        last = parts[-1] if parts else None
        goes_on = False
        if isinstance(last, _Paragraph):
            if number:
                goes_on = _goes_on(lines[number - 1], line, margins[number - 1], usual_gap)
            elif before is not None:
                goes_on = _is_same_size(before, line) and _runs_on(last.lines[-1], line.text)
        if goes_on and isinstance(last, _Paragraph):
            last.lines.append(line.text)
        else:
            parts.append(_Paragraph(index + 1, [line.text]))
    parts += [Block("heading", entry.level, entry.title, index + 1) for entry in headings[len(lines)]]


def _place_headings(
    lines: Sequence[PageLine], entries: Sequence[OutlineEntry]
) -> tuple[dict[int, list[OutlineEntry]], set[int]]:
    """Return the entries by the line that each precedes, and the lines that are headings themselves.

    An entry whose line is not found goes where the outline points, or else to the beginning of the page.
    """
    headings: dict[int, list[OutlineEntry]] = defaultdict(list)
    taken: set[int] = set()
    if len(lines) * len(entries) > _COMPARISONS:
        headings[0] += entries
        return headings, taken
    letters = [_letters_of(line.text) for line in lines] if entries else []
    for entry in entries:
        wanted = _letters_of(entry.title)
        spans = [] if not wanted else [
            (first, end)
            for end in range(1, len(lines) + 1)
            if letters[end - 1] and wanted.endswith(letters[end - 1][-len(wanted) :])
            for first in range(max(0, end - _HEADING_LINES), end)
            if taken.isdisjoint(range(first, end)) and _says("".join(letters[first:end]), wanted)
        ]  # fmt: skip
        if spans:
            # the span nearest to the entry's place, else the first; of those, the one that includes the numbering
            first, end = min(spans, key=lambda span: (_distance(lines[span[1] - 1], entry), span[1], span[0]))
            taken.update(range(first, end))
            headings[first].append(entry)
        else:
            headings[_line_below(lines, entry)].append(entry)
    return headings, taken


def _letters_of(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _says(letters: str, wanted: str) -> bool:
    """Whether a line is the heading with these letters; either may have a number that the other lacks."""
    if letters == wanted:
        return True
    longer, shorter = (letters, wanted) if len(letters) > len(wanted) else (wanted, letters)
    numbering = longer.removesuffix(shorter)
    return (
        longer != numbering
        and len(numbering) <= min(_NUMBERING, 2 * len(shorter) + 2)
        and (len(numbering) == 1 or any(map(str.isdecimal, numbering)))
        and any(map(str.isalpha, shorter))
    )


def _distance(line: PageLine, entry: OutlineEntry) -> int:
    """Return a line's distance from an entry's place, in steps of 40 points; an outline points above its heading."""
    return 0 if entry.height is None else round(abs(line.height - entry.height) / 40)


def _line_below(lines: Sequence[PageLine], entry: OutlineEntry) -> int:
    if entry.height is None:
        return 0
    return next((number for number, line in enumerate(lines) if line.height < entry.height), 0)


def _find_margins(lines: Sequence[PageLine]) -> list[float]:
    """Return how far right the text extends at each line: as far as any line of its part of the page."""
    widest = max((line.right for line in lines), default=0.0)
    margins: list[float] = []
    start = 0
    for end in range(1, len(lines) + 1):
        if end == len(lines) or not 0 < lines[end - 1].height - lines[end].height < _FAR_GAP * lines[end].size:
            part = lines[start:end]
            margins += [max(line.right for line in part) if len(part) >= _MARGIN_LINES else widest] * len(part)
            start = end
    return margins


def _goes_on(line: PageLine, following: PageLine, margin: float, usual_gap: float) -> bool:
    """Whether a line of the same page continues the paragraph of the previous line."""
    if not _is_same_size(line, following):
        return False
    gap = line.height - following.height
    if abs(gap) < 0.3 * line.size:  # next to it
        return 0 <= following.left - line.right < _FAR_GAP * line.size
    if gap < 0:  # in the next column
        return _runs_on(line.text, following.text)
    if gap > _WIDE_GAP * usual_gap * line.size or _ITEM.match(following.text):
        return False
    if line.text.endswith(_HYPHENS) or _runs_on(line.text, following.text):
        return True
    # a line with room for the next word was ended on purpose
    letter_width = (line.right - line.left) / len(line.text)
    first_word = 1 if _WITHOUT_SPACES.match(following.text) else len(following.text.split(maxsplit=1)[0]) + 1
    return line.right + first_word * letter_width > margin


def _is_same_size(line: PageLine, other: PageLine) -> bool:
    return max(line.size, other.size) <= _OTHER_SIZE * min(line.size, other.size)


def _runs_on(text: str, following: str) -> bool:
    """Whether the sentence is unfinished and the next line begins like its middle."""
    return following[0].islower() and not _SENTENCE_END.search(text) and not _ITEM.match(following)


def _known_words(paragraphs: Sequence[Sequence[str]]) -> frozenset[str]:
    """Return the words, whole or hyphenated, that line-end hyphens may stand for and that occur within lines."""
    wanted: set[str] = set()
    for lines in paragraphs:
        for line, following in pairwise(lines):
            if line.endswith(_HYPHENS) and (halves := _halves(line, following)):
                wanted |= {"".join(halves), "-".join(halves)}
    if not wanted:
        return frozenset()
    found: set[str] = set()
    for lines in paragraphs:
        for line in lines:
            found.update(wanted.intersection(_WORD.findall(line.casefold())))
    return frozenset(found)


def _halves(line: str, following: str) -> tuple[str, str] | None:
    """Return the word before the hyphen at a line's end, and the next line's first word; None if either is missing."""
    last, first = _LAST_WORD.search(line[-_WORD_LENGTH:]), _WORD.match(following[:_WORD_LENGTH])
    return (last[1].casefold(), first[0].casefold()) if last and first else None


def join_lines(lines: Sequence[str], known: frozenset[str] = frozenset()) -> str:
    """Return the lines of a paragraph as one.

    A hyphen at the end of a line is removed and the word joined. It stays before a capital or a digit, before "and"
    ("pre- and post-"), and if ``known`` has the word with its hyphen and not without. Text in scripts without spaces is
    joined without spaces.
    """
    parts = [lines[0]]
    for line in lines[1:]:
        before = parts[-1]
        if before.endswith(_HYPHENS):
            parts[-1] = before[:-1]
            parts.append(_end_of_hyphen(before, line, known) + line)
        elif _WITHOUT_SPACES.match(before[-1]) and _WITHOUT_SPACES.match(line):
            parts.append(line)
        else:
            parts.append(" " + line)
    return "".join(parts).replace("\u00ad", "").replace("\ufffe", "-").strip()


def _end_of_hyphen(line: str, following: str, known: frozenset[str]) -> str:
    """Return the replacement for the hyphen at a line's end: nothing, a hyphen, or a hyphen and a space."""
    if line.endswith("\u00ad"):
        return ""
    halves = _halves(line, following)
    if halves is None or not following[0].islower():
        return "- " if line[:-1].endswith(" ") else "-"
    if halves[1] in _NOT_SECOND_HALVES:
        return "- "
    return "-" if "-".join(halves) in known and "".join(halves) not in known else ""
