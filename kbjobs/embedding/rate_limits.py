"""Decide when the next request to an API may go out: within the limits of its headers and of what the server bears.

The headers ``x-ratelimit-limit-…``, ``-remaining-…`` and ``-reset-…`` of requests and of tokens are those of OpenAI's
guide to rate limits: how much a window holds, how much of it is left, and how soon it will be full again. Between two
answers the window is assumed to refill as slowly as was ever seen: that is right for a limit that refills steadily, as
OpenAI's does, and cautious for one that resets at a moment. The number of simultaneous requests grows with each answer
and is halved by a refusal; after a refusal one request goes out first, and the others follow its answer.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from kbjobs.net.backoff import read_retry_after

FIRST_AT_ONCE = 4
"""Simultaneous requests before anything is known about the server."""

MAX_LOOK = 5.0
"""Seconds after which a waiting thread looks again, whatever wait was computed."""

_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|µs|ms|s|m|h|d)")


class InterruptedTurn(Exception):
    """The wait for a turn was abandoned."""


def read_duration(value: str) -> float | None:
    """Read a header's duration in seconds: ``20ms``, ``6m0s``, ``1.5s``, or a bare number; else None."""
    value = value.strip()
    found = list(_DURATION.finditer(value))
    if found and "".join(match[0] for match in found) == value:
        return sum(float(match[1]) * _UNITS[match[2]] for match in found)
    return float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value) else None


def read_wait(headers: Mapping[str, str]) -> float | None:
    """Read the seconds that a refusal asks to wait, at most an hour; None if it names none."""
    milliseconds = read_duration(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return min(milliseconds / 1000, 3600.0)
    return read_retry_after(headers.get("retry-after", "")) or None


@dataclass
class Budget:
    """How much of one kind, requests or tokens, may be sent; times are of the limits' clock."""

    limit: float | None = None
    """How much a window holds; None while nothing is known, or nothing is limited."""
    remaining: float = 0.0
    read_at: float = 0.0
    full_at: float = 0.0
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=20))

    def read(self, headers: Mapping[str, str], name: str, now: float) -> None:
        """Update the budget from the headers of an answer; missing or malformed headers change nothing.

        Args:
            headers: the headers of the answer.
            name: ``requests`` or ``tokens``.
            now: seconds of the limits' clock.
        """
        try:
            limit = float(headers[f"x-ratelimit-limit-{name}"])
            remaining = float(headers[f"x-ratelimit-remaining-{name}"])
        except (KeyError, ValueError):
            return
        if not 0 < limit < 1e15 or not 0 <= remaining <= limit:
            return
        if self.limit != limit:
            self.rates.clear()
        reset = read_duration(headers.get(f"x-ratelimit-reset-{name}", ""))
        if reset is None:
            reset = 60.0 * (limit - remaining) / limit
        self.limit, self.remaining, self.read_at, self.full_at = limit, remaining, now, now + reset
        if reset > 0 and remaining < limit:
            self.rates.append((limit - remaining) / reset)

    @property
    def rate(self) -> float:
        """How much comes back per second, at least."""
        if self.limit is None:
            return float("inf")
        return min(self.rates) if self.rates else self.limit / 60.0

    def left(self, now: float) -> float:
        """How much may be sent now."""
        if self.limit is None:
            return float("inf")
        if now >= self.full_at:
            return self.limit
        return min(self.limit, self.remaining + self.rate * (now - self.read_at))

    def spend(self, amount: float) -> None:
        """Subtract what was sent if no answer will report it."""
        self.remaining = max(0.0, self.remaining - amount)

    def wait_for(self, amount: float, now: float) -> float:
        """Seconds until that amount may be sent, 0 for now. An amount larger than a window waits for a full window."""
        if self.limit is None:
            return 0.0
        lacking = min(amount, self.limit) - self.left(now)
        if lacking <= 0:
            return 0.0
        return max(min(self.full_at - now, lacking / self.rate if self.rate else MAX_LOOK), 0.001)


@dataclass(slots=True)
class RateTurn:
    """A request that may go out: its tokens, and when it began."""

    tokens: int
    began: float
    has_headers: bool = False
    """Whether its answer has reported what is left."""


class RateLimits:
    """Grants turns to the threads of one client.

    Args:
        max_at_once: the most requests at the same time.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, max_at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.requests, self.tokens = Budget(), Budget()
        self.refusals = 0
        """How often the server has refused a request for its rate."""
        self._max_at_once, self._clock = max_at_once, clock
        self._changed = threading.Condition()
        self._at_once = float(min(FIRST_AT_ONCE, max_at_once))
        self._grows_fast = True
        self._running: list[RateTurn] = []
        self._resumes_at = self._throttled_until = float("-inf")
        self._shrunk_at = float("-inf")
        self._probes = False
        self._is_interrupted = False
        self._local = threading.local()

    @property
    def at_once(self) -> int:
        """How many requests may run at the same time now."""
        return int(self._at_once)

    @property
    def is_throttled(self) -> bool:
        """Whether nothing may go out for a moment, because of the limits or after a refusal."""
        return self._clock() < self._throttled_until

    @contextmanager
    def turn(self, tokens: int) -> Iterator[RateTurn]:
        """Wait until a request of that many tokens may go out; the request ends with the context.

        Raises:
            InterruptedTurn: the wait was abandoned.
        """
        with self._changed:
            while (wait := self._wait(tokens)) > 0:
                self._changed.wait(min(wait, MAX_LOOK))
            turn = RateTurn(tokens, self._clock())
            self._running.append(turn)
        self._local.turn = turn
        try:
            yield turn
        finally:
            with self._changed:
                self._running.remove(turn)
                if not turn.has_headers:  # the server may have counted it
                    self.requests.spend(1)
                    self.tokens.spend(tokens)
                self._changed.notify_all()

    def _wait(self, tokens: int) -> float:
        """Seconds until a request may go out, 0 for now. Called with the lock held."""
        if self._is_interrupted:
            raise InterruptedTurn
        now = self._clock()
        if now < self._resumes_at:
            self._throttled_until = self._resumes_at
            return self._resumes_at - now
        if len(self._running) >= (1 if self._probes else self.at_once):
            return MAX_LOOK
        # Whether the reported rest includes a request that is under way is unknown.
        underway = sum(turn.tokens for turn in self._running)
        waits = (
            self.requests.wait_for(len(self._running) + 1, now),
            self.tokens.wait_for(underway + tokens, now),
        )
        wait = max(waits)
        if wait > 0:
            self._throttled_until = now + wait
        return min(wait, 0.2) if self._running else wait

    def read(self, headers: Mapping[str, str]) -> None:
        """Read the limits from an answer to this thread's request."""
        turn: RateTurn | None = getattr(self._local, "turn", None)
        with self._changed:
            now = self._clock()
            self.requests.read(headers, "requests", now)
            self.tokens.read(headers, "tokens", now)
            if turn is not None:
                turn.has_headers = "x-ratelimit-remaining-tokens" in headers
            self._changed.notify_all()

    def succeeded(self, turn: RateTurn) -> None:
        """Record a successful answer: more requests may run at once."""
        with self._changed:
            # A request that began before the refusal says nothing about what may follow it.
            self._probes = self._probes and turn.began < self._resumes_at
            step = 1.0 if self._grows_fast else 1.0 / self._at_once
            self._at_once = min(float(self._max_at_once), self._at_once + step)
            self._changed.notify_all()

    def refused(self, turn: RateTurn, wait: float) -> None:
        """Record a refusal for the rate: nothing goes out for ``wait`` seconds, then one request, then more."""
        with self._changed:
            self.refusals += 1
            self._resumes_at = max(self._resumes_at, self._clock() + wait)
            self._probes = True
            self._shrink(turn)

    def strained(self, turn: RateTurn) -> None:
        """Record a failure of the server, or no answer: fewer requests may run at once."""
        with self._changed:
            self._shrink(turn)

    def _shrink(self, turn: RateTurn) -> None:
        # Failures of requests that were under way together count as one.
        if turn.began > self._shrunk_at:
            self._shrunk_at = self._clock()
            self._at_once = max(1.0, self._at_once / 2)
            self._grows_fast = False

    def interrupt(self) -> None:
        """Wake all waiting threads for good."""
        with self._changed:
            self._is_interrupted = True
            self._changed.notify_all()
