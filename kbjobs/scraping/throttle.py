"""The throttle of requests: how often, and how many at a time, a host may be asked."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from kbjobs.net.backoff import read_retry_after

CONNECTIONS = 16
"""Requests to one host at the same time."""
MAX_BACKOFF = 300.0
"""Longest rest in seconds, unless the host asks for a longer one."""


@dataclass
class _Host:
    """The state of one host. ``started`` and ``rests_until`` are times of the throttle's clock."""

    places: asyncio.Semaphore
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    crawl_delay: float = 0.0
    started: float = float("-inf")
    rests_until: float = float("-inf")
    refusals: int = 0


class HostTurn:
    """A request's permission to start. Until it has started or ended, no other request to the host gets one."""

    def __init__(self, host: _Host, clock: Callable[[], float]) -> None:
        self._host = host
        self._clock = clock
        self._is_next = True

    def mark_start(self) -> None:
        """Count the gap from now: the request is sent only now, because it had to connect first."""
        self._host.started = max(self._host.started, self._clock())
        self.let_next()

    def let_next(self) -> None:
        """Let the host's next request wait for its gap."""
        if self._is_next:
            self._is_next = False
            self._host.turn.release()


class HostThrottle:
    """Grants turns to requests, host by host.

    Two requests to a host start at least the delay apart, or the crawl delay of its robots.txt if that is longer,
    however many callers wait. Without either, only the number of simultaneous requests is limited.

    Args:
        delay: seconds between the starts of two requests to one host.
        clock: a monotonic clock in seconds.
        connections: requests to one host at the same time.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        delay: float,
        clock: Callable[[], float] = time.monotonic,
        connections: int = CONNECTIONS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.delay = delay
        self._clock = clock
        self._connections = connections
        self._sleep = sleep
        self._hosts: dict[str, _Host] = {}

    def _host(self, host: str) -> _Host:
        return self._hosts.setdefault(host, _Host(asyncio.Semaphore(self._connections)))

    def set_crawl_delay(self, host: str, seconds: float) -> None:
        """Set the delay that a host's robots.txt asks for; it never goes below the user's delay."""
        self._host(host).crawl_delay = seconds

    @contextlib.asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[HostTurn]:
        """Wait until a request to the host may start; leaving the context marks its end.

        Args:
            host: the host as ``web_urls.host_of`` returns it.
        """
        known = self._host(host)
        async with known.places:
            # The holder of the lock starts next. The gap counts from the actual start, not from the planned one.
            await known.turn.acquire()
            turn = HostTurn(known, self._clock)
            try:
                while (wait := self.wait_for(host)) > 0:
                    await self._sleep(wait)
                known.started = self._clock()
                if self._gap(known) <= 0:
                    turn.let_next()  # many connect at once
                yield turn
            finally:
                turn.let_next()

    def wait_for(self, host: str) -> float:
        """Seconds until the next request to the host could start, not counting requests that already wait."""
        known = self._host(host)
        return max(max(known.started + self._gap(known), known.rests_until) - self._clock(), 0.0)

    def _gap(self, known: _Host) -> float:
        return max(self.delay, known.crawl_delay)

    def slow_down(self, host: str, retry_after: str = "") -> float:
        """Let a host rest that answered 429 or 503: twice as long each time, and at least as long as it asks for.

        Args:
            host: the host.
            retry_after: its Retry-After header.
        Returns:
            The seconds until it may be asked again.
        """
        known = self._host(host)
        now = self._clock()
        rest = read_retry_after(retry_after)
        if known.rests_until <= now:
            # Several refusals of simultaneous requests count as one.
            backoff = min(2.0**known.refusals, MAX_BACKOFF)
            # With jitter, so that clients that were refused together do not return together.
            rest = max(rest, backoff * random.uniform(0.75, 1.25))  # noqa: S311
            known.refusals = min(known.refusals + 1, 16)
        known.rests_until = max(known.rests_until, now + rest)
        return known.rests_until - now

    def recovered(self, host: str) -> None:
        """Record that the host answered properly: its next refusal counts as the first."""
        self._host(host).refusals = 0
