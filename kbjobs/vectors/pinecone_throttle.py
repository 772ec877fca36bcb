"""No more requests, records and bytes a second than Pinecone's page on its limits allows for a namespace."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from kbjobs.embedding.rate_limits import InterruptedTurn

SECOND = 1.05
"""What counts as a second here: on their way requests may move together."""


class WriteThrottle:
    """Grants at most so much within any second, to any number of threads.

    Args:
        limit: how much a second.
        clock: seconds that only grow.
    """

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._granted: deque[tuple[float, float]] = deque()
        self._sum = 0.0
        self._lock = threading.Lock()

    def reserve(self, amount: float) -> float:
        """Take a turn for so much; the seconds after which it may go out. More than the limit goes out alone."""
        with self._lock:
            now = self._clock()
            at = max(now, self._granted[-1][0] if self._granted else now)
            self._forget(at)
            while self._granted and self._sum + amount > self._limit:
                at = max(at, self._granted[0][0] + SECOND)
                self._forget(at)
            self._granted.append((at, amount))
            self._sum += amount
            return at - now

    def _forget(self, at: float) -> None:
        while self._granted and self._granted[0][0] + SECOND <= at:
            self._sum -= self._granted.popleft()[1]

    def take(self, amount: float, interrupted: threading.Event) -> None:
        """Wait until so much may go out. Raises InterruptedTurn."""
        if interrupted.wait(self.reserve(amount)):
            raise InterruptedTurn
