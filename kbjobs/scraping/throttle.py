"""How often and how many at a time a host is asked."""

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
"""Seconds: the longest rest that nobody has asked for."""


@dataclass
class _Host:
    """What is known of one host. ``started`` and ``rests_until`` are times of the pace's clock."""

    places: asyncio.Semaphore
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    crawl_delay: float = 0.0
    started: float = float("-inf")
    rests_until: float = float("-inf")
    refusals: int = 0


class HostTurn:
    """A request's leave to start. Until it has started, or ended, no other one of its host gets any."""

    def __init__(self, host: _Host, clock: Callable[[], float]) -> None:
        self._host = host
        self._clock = clock
        self._is_next = True

    def mark_start(self) -> None:
        """Count the gap from now: the request leaves only now, because it first had to connect."""
        self._host.started = max(self._host.started, self._clock())
        self.let_next()

    def let_next(self) -> None:
        """Let the host's next request wait for its gap."""
        if self._is_next:
            self._is_next = False
            self._host.turn.release()


class HostThrottle:
    """Grants turns, host by host.

    Two requests to a host start at least the delay apart, or what its robots.txt asks for if that is more, however many
    callers wait. Without either only the number of requests at the same time is limited.

    Args:
        delay: seconds between the starts of two requests to one host.
        clock: seconds that only grow.
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
        """What the robots.txt of a host asks for; the user's delay stays the least."""
        self._host(host).crawl_delay = seconds

    @contextlib.asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[HostTurn]:
        """Wait until a request to the host may start; it has ended when the context is left.

        Args:
            host: as ``web_urls.host_of`` gives it.
        """
        known = self._host(host)
        async with known.places:
            # Who holds the lock starts next. The gap is counted from when it really did, not from when it was to.
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
        """Seconds until the next request to the host could start, those that wait already not counted."""
        known = self._host(host)
        return max(max(known.started + self._gap(known), known.rests_until) - self._clock(), 0.0)

    def _gap(self, known: _Host) -> float:
        return max(self.delay, known.crawl_delay)

    def slow_down(self, host: str, retry_after: str = "") -> float:
        """Let a host rest that has answered 429 or 503: twice as long each time, and at least as long as it asks for.

        Args:
            retry_after: the header of that name.
        Returns:
            The seconds from now until it is asked again.
        """
        known = self._host(host)
        now = self._clock()
        rest = read_retry_after(retry_after)
        if known.rests_until <= now:
            # Refusals of requests that were on their way together are one.
            backoff = min(2.0**known.refusals, MAX_BACKOFF)
            # Spread, so that clients which were refused together do not come back together.
            rest = max(rest, backoff * random.uniform(0.75, 1.25))  # noqa: S311
            known.refusals = min(known.refusals + 1, 16)
        known.rests_until = max(known.rests_until, now + rest)
        return known.rests_until - now

    def recovered(self, host: str) -> None:
        """The host has answered as it should: its next refusal is a first one again."""
        self._host(host).refusals = 0
