"""How long a server that does not answer is asked again, and what is said when it is given up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from kbjobs.errors import TransientError
from kbjobs.net.requesting import AwayError

log = logging.getLogger(__name__)

GIVE_UP_SECONDS = 120.0
"""Seconds without a new byte after which a server is given up."""
_FIRST_PAUSE, _MAX_PAUSE = 1.0, 30.0  # seconds between two tries; doubles


class Backoff:
    """The pauses between the tries of one request.

    Args:
        url: what is asked for, for messages.
        seconds: without a new byte, after which the server is given up.
        check: called several times a second while waiting; may raise.
    """

    def __init__(self, url: str, seconds: float = GIVE_UP_SECONDS, check: Callable[[], None] = lambda: None) -> None:
        self.url, self.seconds, self.check = url, seconds, check
        self._pause = _FIRST_PAUSE
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
            self._last_byte, self._pause = time.monotonic(), _FIRST_PAUSE
        seconds = max(error.rest, self._pause)
        if time.monotonic() + seconds > self._last_byte + self.seconds:
            asked = f"; it asks to be left alone for {error.rest:.0f} s" if error.rest else ""
            kept = f"{here / 1e6:,.1f} MB are here: the same, run again later, goes on from there." if here else ""
            place = urlsplit(self.url).netloc.rpartition("@")[2]
            raise TransientError(
                f"{self.url} {error.cause}{asked}",
                kept or f"Check that this machine can reach {place}, then run the same again later.",
            ) from error
        log.info("%s %s; trying again in %.0f s", self.url, error.cause, seconds)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.25))
        self._pause = min(2 * self._pause, _MAX_PAUSE)
