"""Asking Pinecone: each request in its turn, repeated where that helps, and each failure told to a person.

The library's own repetitions are switched off: they sleep where nobody can stop them, and are no part of the limits.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from kbjobs.embedding.rate_limits import InterruptedTurn, RateLimits
from kbjobs.errors import KbjobsError, MissingRequirementError, NotFoundError, TransientError, UnavailableError
from kbjobs.net.retry_after import read_retry_after
from kbjobs.vectors.pinecone_target import PINECONE_KEY, SET_KEY
from kbjobs.vectors.pinecone_throttle import InterruptedThrottle, WriteThrottle

RETRIES = 5
FIRST_WAIT, MAX_WAIT = 0.5, 30.0
"""Seconds before the first repetition where the server asks for none, doubled each time, and the most of it."""

# What no waiting mends: a month's limit comes with 429, those of indexes and storage with 403 (the pages "Database
# limits" and "Errors" of Pinecone's documentation).
_PLAN = re.compile(r"current month|upgrade your plan|max serverless indexes|max storage|quota|billing|payment", re.I)
_PER_SECOND = re.compile(r"per second|too many requests per", re.I)
_TOO_LARGE = re.compile(
    r"message length too large|payload (is )?too large|exceeds? the (maximum )?(request|message)", re.I
)

Answer = TypeVar("Answer")


class PineconeAwayError(TransientError):
    """The service does not answer, or says that it cannot just now."""

    exit_code = UnavailableError.exit_code


class PineconeGivenUpError(TransientError):
    """A request that was given up, because another has failed or the job stops."""


class UnknownIndexError(NotFoundError):
    """The project of the key has no index of that name."""


class TooLargeError(KbjobsError):
    """A request is larger than the service takes."""


class PineconeRefusedError(KbjobsError):
    """The service refuses what it was sent, and would again."""


class PineconeRequests:
    """How requests are sent, from any number of threads.

    Args:
        key: that of the API, kept out of what is told.
        index: the name of the index, for messages.
        at_once: requests at the same time, at most.
        retries: how often a request is repeated after a transient error.
    """

    def __init__(self, key: str, index: str, at_once: int, retries: int = RETRIES) -> None:
        self.limits = RateLimits(at_once)
        self.retries = 0
        """Requests that were repeated."""
        self._key, self._index, self._most_retries = key, index, retries
        self._interrupted = threading.Event()

    def __call__(
        self,
        work: Callable[[], Answer],
        paces: Sequence[tuple[WriteThrottle, float]] = (),
        retries: int | None = None,
    ) -> Answer:
        """What the work gives.

        Args:
            work: sends one request by the library.
            paces: what the request takes of which limits.
            retries: how often it may be repeated, where it is not as often as usual.
        Raises:
            PineconeAwayError, UnknownIndexError, TooLargeError, RefusedRequestError, MissingRequirementError,
            UnavailableError: after all repetitions.
        """
        most = self._most_retries if retries is None else retries
        for tries in range(most + 1):
            failure: KbjobsError
            wait: float | None = None
            try:
                with self.limits.turn(0) as turn:
                    for pace, amount in paces:
                        pace.take(amount, self._interrupted)
                    try:
                        answer = work()
                    except Exception as error:  # noqa: BLE001 — the library's, httpx's and orjson's; each is told
                        failure = self._explain(error)
                        if isinstance(failure, MissingRequirementError):
                            self.interrupt()  # the others would fare no better
                        if isinstance(failure, PineconeAwayError):
                            wait = self._weigh(error, turn, tries)
                    else:
                        self.limits.succeeded(turn)
                        return answer
            except (InterruptedTurn, InterruptedThrottle):
                failure = PineconeGivenUpError("the request was given up")
            if wait is None or tries == most:
                break
            if self._interrupted.wait(wait):
                failure = PineconeGivenUpError("the request was given up")
                break
            self.retries += 1
        # Raised here, outside of the handlers: the library's exceptions quote the server, and that may quote the key.
        raise failure

    def interrupt(self) -> None:
        """Requests that wait for their turn, or to be repeated, are given up."""
        self._interrupted.set()
        self.limits.interrupt()

    def _weigh(self, error: Any, turn: Any, tries: int) -> float:
        """Let the limits know of a transient failure; the seconds until another try."""
        backoff = min(MAX_WAIT, FIRST_WAIT * 2.0**tries) * random.uniform(0.75, 1.25)  # noqa: S311
        headers = getattr(error, "headers", None) or {}
        asked = read_retry_after(str(headers.get("retry-after", "")))
        if getattr(error, "status_code", None) == 429:
            # All wait, not only this one; who is first then finds out whether more may follow.
            self.limits.refused(turn, asked or backoff)
            return 0.0
        self.limits.strained(turn)
        return max(asked, backoff)

    def _explain(self, error: Exception) -> KbjobsError:
        import httpx
        from pinecone.errors import exceptions as pinecone

        if isinstance(error, KbjobsError):
            return error
        if isinstance(error, pinecone.ApiError):
            return self._explain_status(error)
        if isinstance(error, pinecone.PineconeConnectionError | pinecone.PineconeTimeoutError | httpx.TransportError):
            return PineconeAwayError(
                "Pinecone cannot be reached, or broke off its answer",
                "Check the network, then run the same again: what was sent stays.",
            )
        if isinstance(error, pinecone.ResponseParsingError):
            return PineconeAwayError(
                f"the answer for Pinecone's index {self._index} cannot be read",
                "Something between here and Pinecone may have given it. Run the same again.",
            )
        # Not its text: the library's messages quote what it was given.
        return UnavailableError(
            f"Pinecone's library failed ({type(error).__name__})", "The job's log shows more: kbjobs logs JOB"
        )

    def _explain_status(self, error: Any) -> KbjobsError:
        status, says = int(error.status_code), self.quote(str(error.message))
        if status == 402 or (status in (400, 403, 429) and _PLAN.search(says) and not _PER_SECOND.search(says)):
            return MissingRequirementError(
                f"the Pinecone plan does not allow it (status {status}): {says}",
                "Raise the limit or the plan in Pinecone's console, then run the same again: what was sent stays.",
            )
        if status in (401, 403):
            # Not what the server says: it may repeat the key.
            return MissingRequirementError(
                f"Pinecone refuses {PINECONE_KEY} with status {status}",
                f"Check that the key is right and may read and write {self._index}. {SET_KEY}",
            )
        if status == 404:
            return UnknownIndexError(
                f"Pinecone knows no index {self._index!r}: {says}",
                "Check pinecone.index and whose key it is, or make the index with --create-index.",
            )
        if status == 413 or (status == 400 and _TOO_LARGE.search(says)):
            return TooLargeError(
                f"Pinecone refuses a request as too large: {says}",
                "Requests are halved until they fit: one record alone is too large. Shorten what its metadata hold.",
            )
        if status in (408, 409, 425, 429) or status >= 500:
            what = "is busy: a rate limit is reached" if status == 429 else "fails"
            return PineconeAwayError(
                f"Pinecone {what} (status {status}): {says}",
                "What was sent stays. Run the same again later, or let --retries do so.",
            )
        return PineconeRefusedError(
            f"Pinecone refuses the request (status {status}): {says}",
            "It would refuse it again. Compare the settings pinecone.* with the index in Pinecone's console; what was"
            " sent before stays.",
        )

    def quote(self, text: str) -> str:
        """What the server says, on one line, short, and without the key should it be there."""
        line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        return line.replace(self._key, "…")[:300] or "nothing"
