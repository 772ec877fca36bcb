"""Forecasting how many pages a crawl will fetch, from what it has seen so far."""

from __future__ import annotations

from collections import deque

WINDOW = 50
"""Number of recent pages that tell how many new addresses a page brings."""

MIN_SEEN = 5
"""Least number of pages between the first note and the last for a forecast."""

MAX_GROWTH = 0.95
"""New addresses per page from which on only the page limit ends the crawl."""


class CrawlForecast:
    """Forecasts the pages to come, given that each queued page may bring others.

    Args:
        may_grow: whether links are followed.
    """

    def __init__(self, may_grow: bool) -> None:
        self._may_grow = may_grow
        self._seen: deque[tuple[int, int]] = deque(maxlen=WINDOW)  # pages read, addresses known by then

    def note(self, read: int, known: int) -> None:
        """Record how many pages have been read, and how many addresses are known by then."""
        if not self._seen or read > self._seen[-1][0]:
            self._seen.append((read, known))

    def expect(self, queued: int, in_hand: int = 0) -> float:
        """The number of pages still to come when ``queued`` are queued; infinite if no end is in sight.

        Pages ``in_hand`` have arrived, and may bring others too.
        """
        if not self._may_grow or not queued + in_hand:
            return queued
        if not self._seen or self._seen[-1][0] - self._seen[0][0] < MIN_SEEN:
            return float("inf")
        (first, known), (last, known_now) = self._seen[0], self._seen[-1]
        growth = (known_now - known) / (last - first)
        return (queued + growth * in_hand) / (1 - growth) if growth < MAX_GROWTH else float("inf")
