"""How many pages a crawl will have fetched in the end, as far as what it has seen tells."""

from __future__ import annotations

from collections import deque

WINDOW = 50
"""Pages from which it is judged how many new addresses a page brings."""

MIN_SEEN = 5
"""Pages between the first look and the last, before that is judged at all."""

MAX_GROWTH = 0.95
"""New addresses a page from which on no end is in sight but the page limit."""


class CrawlForecast:
    """Estimates the pages to come: each that is queued may bring others.

    Args:
        may_grow: whether links are followed.
    """

    def __init__(self, may_grow: bool) -> None:
        self._may_grow = may_grow
        self._seen: deque[tuple[int, int]] = deque(maxlen=WINDOW)  # pages read, addresses known by then

    def note(self, read: int, known: int) -> None:
        """Note how many pages have been read, and how many addresses are known by then."""
        if not self._seen or read > self._seen[-1][0]:
            self._seen.append((read, known))

    def expect(self, queued: int, in_hand: int = 0) -> float:
        """How many pages are still to come when so many are queued; infinite if no end is in sight.

        Those ``in_hand`` have come, and may bring others too.
        """
        if not self._may_grow or not queued + in_hand:
            return queued
        if not self._seen or self._seen[-1][0] - self._seen[0][0] < MIN_SEEN:
            return float("inf")
        (first, known), (last, known_now) = self._seen[0], self._seen[-1]
        growth = (known_now - known) / (last - first)
        return (queued + growth * in_hand) / (1 - growth) if growth < MAX_GROWTH else float("inf")
