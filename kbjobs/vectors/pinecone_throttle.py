"""The throttle that keeps requests, records and bytes per second within the limits of Pinecone's documentation."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from kbjobs.embedding.rate_limits import InterruptedTurn

SECOND = 1.05
"""The seconds that count as one here, because requests may bunch up on their way."""


class WriteThrottle:
    """Grants at most ``limit`` within any second, to any number of threads.

    Args:
        limit: the amount per second.
        clock: a monotonic clock in seconds.
    """

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._granted: deque[tuple[float, float]] = deque()
        self._sum = 0.0
        self._lock = threading.Lock()

    def reserve(self, amount: float) -> float:
        """Reserve an amount; returns the seconds to wait. An amount above the limit gets a second of its own."""
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
        """Wait until an amount may be sent. Raises InterruptedTurn."""
        if interrupted.wait(self.reserve(amount)):
            raise InterruptedTurn
