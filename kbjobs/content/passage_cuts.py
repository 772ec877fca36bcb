"""Find the best cuts of a document: passages that are well filled and end where the text itself pauses.

The units are sentences, short paragraphs and headings, in order. All possible cuts are compared at once: the free share
of a passage's window costs its square, which favours few passages of similar length, and a cut costs more the more
closely related the parts are that it separates.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate
from typing import NamedTuple


class Cut(IntEnum):
    """What a cut before a unit separates."""

    SECTION = 0
    PARAGRAPH = 1
    SENTENCE = 2
    WORD = 3  # between two words
    LETTER = 4  # within a word
    HEADING = 5  # from the text below it


class Unit(NamedTuple):  # a large page has thousands
    """A part of a block that is not cut further. ``tokens`` excludes special tokens and includes the joint's."""

    block: int
    start: int
    end: int
    tokens: int
    cut: Cut
    is_heading: bool


_PRICES = {Cut.SECTION: 0.0, Cut.PARAGRAPH: 0.02, Cut.SENTENCE: 0.06, Cut.WORD: 0.2, Cut.LETTER: 0.4, Cut.HEADING: 0.6}
"""The cost of a cut; an empty passage costs 1."""

_HEADINGS_ALONE = 1.0
_FULL = 0.85
"""A passage below this share of its room is filled up with its neighbours from the same section."""


def pack(units: Sequence[Unit], room: int) -> list[tuple[int, int]]:
    """Cut units into passages of at most ``room`` tokens; a larger unit is a passage of its own.

    Returns the first and the last unit (exclusive) of each passage. Every unit is in one; if a document has too little
    text for its number of passages, neighbours share some.
    """
    spans = _cut(units, room)
    return spans if len(spans) < 2 else [_fill_up(units, first, end, room) for first, end in spans]


def _cut(units: Sequence[Unit], room: int) -> list[tuple[int, int]]:
    """Find the cheapest cuts, from the end of the document backwards."""
    count = len(units)
    sizes = [unit.tokens for unit in units]
    price = [_PRICES[unit.cut] for unit in units] + [0.0]
    texts = [0, *accumulate(not unit.is_heading for unit in units)]
    costs = [0.0] * (count + 1)
    ends = [count] * (count + 1)
    for first in range(count - 1, -1, -1):
        size, best, best_end = sizes[first], float("inf"), first + 1
        end = first + 1
        while True:
            free = 1.0 - size / room if size < room else 0.0
            cost = free * free + costs[end] + price[end]
            if texts[end] == texts[first]:
                cost += _HEADINGS_ALONE
            if cost < best:
                best, best_end = cost, end
            if end == count:
                break
            size += sizes[end]
            if size > room:
                break
            end += 1
        costs[first], ends[first] = best, best_end
    spans: list[tuple[int, int]] = []
    first = 0
    while first < count:
        spans.append((first, ends[first]))
        first = ends[first]
    return spans


def _fill_up(units: Sequence[Unit], first: int, end: int, room: int) -> tuple[int, int]:
    """Widen a passage that is not full by units before it, then by units after it, of the same section."""
    size = sum(unit.tokens for unit in units[first:end])
    if size >= _FULL * room:
        return first, end
    while first and units[first].cut is not Cut.SECTION and size + units[first - 1].tokens <= room:
        first -= 1
        size += units[first].tokens
    while end < len(units) and units[end].cut is not Cut.SECTION and size + units[end].tokens <= room:
        size += units[end].tokens
        end += 1
    return first, end
