"""Send requests to a service with limits: each in its turn, repeated if that helps, from any number of threads.

The services' own libraries repeat nothing here: they sleep without a way to stop them, and know no limits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from kbjobs.embedding.embedder import GivenUpError
from kbjobs.embedding.rate_limits import InterruptedTurn, RateLimits, RateTurn
from kbjobs.errors import KbjobsError
from kbjobs.net.backoff import backoff_seconds

Answer = TypeVar("Answer")


class WindowTooSmallError(Exception):
    """A request has more tokens than the service takes in a minute (``args[0]``), so waiting does not help."""


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """Why a request failed, and what to do about it.

    Args:
        error: the error for people; raised after the last try.
        remedy: ``none`` if another try changes nothing; ``retry`` after a pause; ``throttle`` if a rate limit refused
            it: all requests wait, and the first one then finds out whether more may follow.
        asked: seconds for which the service wants no request, None if it does not say.
        concerns_all: other requests would fail too, so they are abandoned.
    """

    error: KbjobsError
    remedy: Literal["none", "retry", "throttle"] = "none"
    asked: float | None = None
    concerns_all: bool = False


class PacedRequests:
    """Sends requests within the limits of a service.

    Args:
        at_once: the most requests at the same time.
        retries: how often a request is repeated after a transient error.
        pauses: seconds before the first repetition if the service names none, doubled each time, and the maximum.
    """

    def __init__(self, at_once: int, retries: int, pauses: tuple[float, float]) -> None:
        self.limits = RateLimits(at_once)
        self.retries = 0
        """How many requests were repeated."""
        self.interrupted = threading.Event()
        """Set once requests are abandoned."""
        self._max_retries, self._pauses = retries, pauses

    def run(
        self,
        send: Callable[[int], Answer],
        explain: Callable[[Exception], RequestFailure],
        tokens: int = 0,
        retries: int | None = None,
    ) -> Answer:
        """Return the result of ``send``, repeated after transient errors as often as allowed.

        Args:
            send: sends one request; it gets the number of earlier tries.
            explain: interprets an exception of ``send``; raises it again if it is not the service's.
            tokens: the tokens that count towards the service's limit.
            retries: how often it is repeated, None for as often as any other; 0 for a request that must not be sent
                twice.

        Raises:
            KbjobsError: the error of the last failure.
            GivenUpError: after :meth:`interrupt`.
        """
        allowed = self._max_retries if retries is None else retries
        failure = RequestFailure(GivenUpError("the request was abandoned"))
        for tries in range(allowed + 1):
            limit = self.limits.tokens.limit  # the last answer may have revealed it
            if limit is not None and tokens > limit:
                failure = explain(WindowTooSmallError(limit))
                break
            try:
                with self.limits.turn(tokens) as turn:
                    try:
                        answer = send(tries)
                    except InterruptedTurn:
                        raise
                    except Exception as error:  # noqa: BLE001 — each is explained, none is swallowed
                        failure = explain(error)
                        pause = self._weigh(failure, turn, tries)
                    else:
                        self.limits.succeeded(turn)
                        return answer
            except InterruptedTurn:
                failure = RequestFailure(GivenUpError("the request was abandoned"))
            if failure.remedy == "none" or tries == allowed:
                break
            if self.interrupted.wait(pause):
                failure = RequestFailure(GivenUpError("the request was abandoned"))
                break
            self.retries += 1
        # Raised outside of the handlers: a library's exceptions quote the server, which may quote the key.
        raise failure.error

    def interrupt(self) -> None:
        """Abandon requests that wait for their turn, or to be repeated."""
        self.interrupted.set()
        self.limits.interrupt()

    def _weigh(self, failure: RequestFailure, turn: RateTurn, tries: int) -> float:
        """Report a failure to the limits. Returns the seconds until another try."""
        if failure.concerns_all:
            self.interrupt()
        if failure.remedy == "none":
            return 0.0
        pause = backoff_seconds(tries, *self._pauses)
        if failure.remedy == "throttle":
            self.limits.refused(turn, pause if failure.asked is None else failure.asked)
            return 0.0
        self.limits.strained(turn)
        return max(failure.asked or 0.0, pause)
