"""Backoff: how long to wait before a request is repeated.

tenacity, which Chroma installs, was tried: nothing of its loop is left once the pause must obey Retry-After, be shared
by requests of many threads, start again with each new byte, and end at once when a job must stop.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from kbjobs.errors import TransientError

log = logging.getLogger(__name__)

MAX_REST = 3600.0
"""Longest wait in seconds, whatever the server asks for."""

LOOK = 0.2
"""Seconds between two checks whether a wait must end."""

GIVE_UP_SECONDS = 120.0
"""Seconds without a new byte after which a server is given up."""


def read_retry_after(value: str, now: float | None = None) -> float:
    """Read the seconds that a Retry-After asks for, at most an hour; 0 if missing or invalid (RFC 9110, 10.2.3).

    Args:
        value: the header's value, in seconds or as a date.
        now: the current time in seconds since 1970, by default the clock's.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return min(float(value), MAX_REST)
    try:
        until = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(until - (time.time() if now is None else now), 0.0), MAX_REST)


def backoff_seconds(tries: int, first: float, longest: float, spread: float = 0.25) -> float:
    """Compute the pause after a failed try, in seconds.

    Args:
        tries: the number of failures before this one: 0 after the first.
        first: the seconds after the first failure, doubled with each further one.
        longest: the longest pause in seconds, before the random spread.
        spread: the share by which the pause varies at random, so that requests that failed together are not repeated
            together.
    """
    return min(longest, first * 2.0 ** min(tries, 60)) * random.uniform(1 - spread, 1 + spread)  # noqa: S311


def sleep(seconds: float, check: Callable[[], object]) -> None:
    """Wait, and call ``check`` at the start and several times a second; it may raise to end the wait."""
    end = time.monotonic() + seconds
    check()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, LOOK))
        check()


class AwayError(Exception):
    """There is no answer, an incomplete one, or one that asks to try later: another try may succeed.

    Args:
        cause: what happened, for people: "does not answer (connection refused)".
        rest: the seconds that the server asks to wait; 0 if it does not say.
    """

    def __init__(self, cause: str, rest: float = 0.0) -> None:
        super().__init__(cause)
        self.cause, self.rest = cause, rest


class Backoff:
    """The pauses between the tries of one download.

    Args:
        url: the requested URL, for messages.
        seconds: the time without a new byte after which the server is given up.
        check: called several times a second while waiting; may raise to stop.
    """

    FIRST, LONGEST = 1.0, 30.0

    def __init__(self, url: str, seconds: float = GIVE_UP_SECONDS, check: Callable[[], None] = lambda: None) -> None:
        self.url, self.seconds, self.check = url, seconds, check
        self._tries = 0
        self._last_byte = time.monotonic()

    def pause(self, error: AwayError, has_come_on: bool = False, here: int = 0) -> None:
        """Wait before the next try, at least as long as the server asks for.

        Args:
            error: the error of the last try.
            has_come_on: whether the last try has brought new bytes.
            here: the number of bytes that are kept, for the message.

        Raises:
            TransientError: the time is over, or would be over during the pause.
        """
        if has_come_on:
            self._last_byte, self._tries = time.monotonic(), 0
        seconds = max(error.rest, backoff_seconds(self._tries, self.FIRST, self.LONGEST, spread=0.0))
        if time.monotonic() + seconds > self._last_byte + self.seconds:
            asked = f"; it asks to be left alone for {error.rest:.0f} s" if error.rest else ""
            kept = f"{here / 1e6:,.1f} MB are here: the same, run again later, goes on from there." if here else ""
            place = urlsplit(self.url).netloc.rpartition("@")[2]
            raise TransientError(
                f"{self.url} {error.cause}{asked}",
                kept or f"Check that this machine can reach {place}, then run the same again later.",
            ) from error
        log.info("%s %s; trying again in %.0f s", self.url, error.cause, seconds)
        sleep(seconds, self.check)
        self._tries += 1
