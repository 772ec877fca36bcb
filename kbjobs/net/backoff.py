"""How long to wait before a request is repeated.

tenacity, which Chroma installs, was tried: of its loop nothing is left once the pause must obey Retry-After, be shared
by requests of many threads, begin again with each byte that comes, and end at once when a job is to stop.
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
"""Seconds: no server is waited for longer, whatever it says."""

LOOK = 0.2
"""Seconds after which a wait looks whether it is to end."""

GIVE_UP_SECONDS = 120.0
"""Seconds without a new byte after which a server is given up."""


def read_retry_after(value: str, now: float | None = None) -> float:
    """The seconds that a Retry-After asks for, at most an hour; 0 for none or one that says nothing (RFC 9110, 10.2.3).

    Args:
        value: of the header, seconds or a date.
        now: seconds since 1970.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return min(float(value), MAX_REST)
    try:
        until = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(until - (time.time() if now is None else now), 0.0), MAX_REST)


def backoff_seconds(tries: int, first: float, longest: float, spread: float = 0.25) -> float:
    """The pause after so many failed tries.

    Args:
        tries: failures before this one: 0 after the first.
        first: seconds after the first failure, doubled with each further one.
        longest: the most of it.
        spread: share by which it varies at random, so that requests which failed together are not repeated together.
    """
    return min(longest, first * 2.0 ** min(tries, 60)) * random.uniform(1 - spread, 1 + spread)  # noqa: S311


def sleep(seconds: float, check: Callable[[], object]) -> None:
    """Wait, and call ``check`` first and several times a second; it may raise to end the wait."""
    end = time.monotonic() + seconds
    check()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, LOOK))
        check()


class AwayError(Exception):
    """No answer, half of one, or one that asks to come again: another try may succeed.

    Args:
        cause: what happened, for a person: "does not answer (connection refused)".
        rest: seconds that the server wants to be left alone; 0 where it does not say.
    """

    def __init__(self, cause: str, rest: float = 0.0) -> None:
        super().__init__(cause)
        self.cause, self.rest = cause, rest


class Backoff:
    """The pauses between the tries of one download.

    Args:
        url: what is asked for, for messages.
        seconds: without a new byte, after which the server is given up.
        check: called several times a second while waiting; may raise.
    """

    FIRST, LONGEST = 1.0, 30.0

    def __init__(self, url: str, seconds: float = GIVE_UP_SECONDS, check: Callable[[], None] = lambda: None) -> None:
        self.url, self.seconds, self.check = url, seconds, check
        self._tries = 0
        self._last_byte = time.monotonic()

    def pause(self, error: AwayError, has_come_on: bool = False, here: int = 0) -> None:
        """Wait before the next try, as long as the server asks for.

        Args:
            error: of the last try.
            has_come_on: whether that has brought new bytes.
            here: bytes that are kept.

        Raises:
            TransientError: it has had its time, or asks for more.
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
