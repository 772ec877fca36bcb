"""Requests to Pinecone, with throttling, retries, and explained errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from kbjobs.embedding.paced_requests import PacedRequests, RequestFailure
from kbjobs.errors import KbjobsError, MissingRequirementError, NotFoundError, TransientError, UnavailableError
from kbjobs.net.backoff import read_retry_after
from kbjobs.net.messages import clean_message
from kbjobs.vectors.pinecone_target import PINECONE_KEY, SET_KEY
from kbjobs.vectors.pinecone_throttle import WriteThrottle

RETRIES = 5
FIRST_WAIT, MAX_WAIT = 0.5, 30.0
"""Seconds before the first retry if the server names none, doubled each time, and their maximum."""

# Limits that waiting does not lift: a monthly limit comes with 429, limits of indexes and storage with 403 (the pages
# "Database limits" and "Errors" of Pinecone's documentation).
_PLAN = re.compile(r"current month|upgrade your plan|max serverless indexes|max storage|quota|billing|payment", re.I)
_PER_SECOND = re.compile(r"per second|too many requests per", re.I)
_TOO_LARGE = re.compile(
    r"message length too large|payload (is )?too large|exceeds? the (maximum )?(request|message)", re.I
)

Answer = TypeVar("Answer")


class PineconeAwayError(TransientError):
    """The service does not answer, or reports that it is unavailable."""

    exit_code = UnavailableError.exit_code


class UnknownIndexError(NotFoundError):
    """The key's project has no index of that name."""


class TooLargeError(KbjobsError):
    """A request is larger than the service accepts."""


class PineconeRefusedError(KbjobsError):
    """The service refuses a request, and would refuse it again."""


class PineconeRequests:
    """Sends requests from any number of threads.

    Args:
        key: the API key, which is removed from all messages.
        index: the name of the index, for messages.
        at_once: the most simultaneous requests.
        retries: how often a request is repeated after a transient error.
    """

    def __init__(self, key: str, index: str, at_once: int, retries: int = RETRIES) -> None:
        self._key, self._index = key, index
        self._requests = PacedRequests(at_once, retries, (FIRST_WAIT, MAX_WAIT))

    @property
    def retries(self) -> int:
        """The number of repeated requests."""
        return self._requests.retries

    def __call__(
        self,
        work: Callable[[], Answer],
        throttles: Sequence[tuple[WriteThrottle, float]] = (),
        retries: int | None = None,
    ) -> Answer:
        """Send a request and return the result.

        Args:
            work: sends the request through the library.
            throttles: the throttles that apply, each with the amount that the request takes.
            retries: how often it may be repeated, None for the usual number.

        Raises:
            PineconeAwayError, UnknownIndexError, TooLargeError, PineconeRefusedError, MissingRequirementError,
            UnavailableError, GivenUpError: after all retries.
        """

        def send(tries: int) -> Answer:
            for throttle, amount in throttles:
                throttle.take(amount, self._requests.interrupted)
            return work()

        return self._requests.run(send, self._judge, retries=retries)

    def interrupt(self) -> None:
        """Give up requests that wait for their turn or for a retry."""
        self._requests.interrupt()

    def _judge(self, error: Exception) -> RequestFailure:
        failure = self._explain(error)
        if not isinstance(failure, PineconeAwayError):
            # Without a key or a plan, other requests would fail, too.
            return RequestFailure(failure, concerns_all=isinstance(failure, MissingRequirementError))
        headers = getattr(error, "headers", None) or {}
        asked = read_retry_after(str(headers.get("retry-after", ""))) or None
        return RequestFailure(failure, "throttle" if getattr(error, "status_code", None) == 429 else "retry", asked)

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
                "Check the network, then try again. What was sent stays.",
            )
        if isinstance(error, pinecone.ResponseParsingError):
            return PineconeAwayError(
                f"the answer for Pinecone's index {self._index} cannot be read",
                "Something between this machine and Pinecone may have sent it. Try again.",
            )
        # Leave out the error's text: the library's messages quote their input.
        return UnavailableError(
            f"Pinecone's library failed ({type(error).__name__})", "The job's log shows more: kbjobs logs JOB"
        )

    def _explain_status(self, error: Any) -> KbjobsError:
        status, says = int(error.status_code), self.quote(str(error.message))
        if status == 402 or (status in (400, 403, 429) and _PLAN.search(says) and not _PER_SECOND.search(says)):
            return MissingRequirementError(
                f"the Pinecone plan does not allow this (status {status}): {says}",
                "Raise the limit or the plan in Pinecone's console, then try again. What was sent stays.",
            )
        if status in (401, 403):
            # Do not quote the server, which may repeat the key.
            return MissingRequirementError(
                f"Pinecone refuses {PINECONE_KEY} with status {status}",
                f"Check that the key is right and may read and write {self._index}. {SET_KEY}",
            )
        if status == 404:
            return UnknownIndexError(
                f"Pinecone knows no index {self._index!r}: {says}",
                "Check pinecone.index and whose key it is, or create the index with --create-index.",
            )
        if status == 413 or (status == 400 and _TOO_LARGE.search(says)):
            return TooLargeError(
                f"Pinecone refuses a request as too large: {says}",
                "Requests are halved until they fit, but a single record is too large. Shorten its metadata.",
            )
        if status in (408, 409, 425, 429) or status >= 500:
            what = "is busy: a rate limit is reached" if status == 429 else "fails"
            return PineconeAwayError(
                f"Pinecone {what} (status {status}): {says}",
                "What was sent stays. Try again later, or use --retries.",
            )
        return PineconeRefusedError(
            f"Pinecone refuses the request (status {status}): {says}",
            "Trying again will not help. Compare the settings pinecone.* with the index in Pinecone's console; what was"
            " sent before stays.",
        )

    def quote(self, text: str) -> str:
        """The server's message, with the key removed."""
        return clean_message(text, [self._key]) or "nothing"
