"""A Chroma server: connecting to it, waiting while it is unavailable, and explaining its errors.

Facts about chromadb 1.5.9: its client has no timeout and no retries, and raises unrelated types; names of collections
have 3 to 512 of a–z, A–Z, 0–9, '.', '_' and '-'; a client keeps working after the server was killed and restarted.
The server has no accounts: a proxy in front of it may ask for a token.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from kbjobs.errors import ConflictError, KbjobsError, MissingRequirementError, TransientError, UnavailableError
from kbjobs.net.backoff import backoff_seconds, sleep
from kbjobs.net.messages import clean_message
from kbjobs.vectors.chroma_address import CHROMA_TOKEN, ChromaAddress
from kbjobs.vectors.chroma_places import OWNER
from kbjobs.vectors.collection import CONFIGURATION, Collection, CollectionError

TIMEOUT = 120.0  # seconds for one reply; an upsert of 250 records takes 0.1 s, reading 100,000 ids 0.2 s
FIRST_WAIT, MAX_WAIT = 0.25, 15.0
FULL = ("disk is full", "no space left", "disk full")

Found = TypeVar("Found")
log = logging.getLogger(__name__)


class ServerAwayError(TransientError):
    """The server does not answer, or reports that it is unavailable."""

    exit_code = UnavailableError.exit_code


class ServerFullError(UnavailableError):
    """The server's disk is full."""


class UnknownCollectionError(CollectionError):
    """The server has no collection of that name, or the opened one no longer exists."""


class ForeignCollectionError(ConflictError):
    """A collection of that name belongs to another ledger."""


def never_wait(told: str) -> None:
    """Do nothing; the default wait callback."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait for an unavailable server, in seconds; ``on_wait`` gets the reason, and may raise to stop."""

    seconds: float = 0.0
    on_wait: Callable[[str], None] = never_wait


class ChromaServer:
    """A server, connected to when it is first used.

    Args:
        address: its address.
        waiting: how to wait while it is unavailable.
    """

    def __init__(self, address: ChromaAddress, waiting: Waiting | None = None) -> None:
        self.url, self.prefix = address.url, address.prefix
        self._address, self._headers = address, address.headers
        self._waiting = waiting or Waiting()
        self._client: Any = None
        self._batch = 0

    def waiting_as(self, waiting: Waiting) -> ChromaServer:
        """The same server with another way of waiting, and with connections of its own."""
        return ChromaServer(self._address, waiting)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def check(self) -> None:
        """Check that a connection is possible; raises the error if not."""
        self._ask(self._sdk)

    def has(self, name: str, owner: str) -> bool:
        """Whether there is a collection of that name. Raises ForeignCollectionError if it is not the owner's."""
        return self._find(name, owner) is not None

    def open(self, name: str, owner: str, create: bool = False) -> Collection:
        """Open a collection.

        Args:
            name: the collection's name.
            owner: the name of the ledger it must belong to.
            create: whether to create the collection if it does not exist.

        Raises:
            UnknownCollectionError: there is no such collection.
            ForeignCollectionError: it belongs to another owner.
        """
        found = self._find(name, owner)
        if found is None and create:
            found = self._ask(
                lambda: self._sdk().get_or_create_collection(
                    name, embedding_function=None, configuration=CONFIGURATION, metadata={OWNER: owner}
                )
            )
            self._check_owner(found, name, owner)  # somebody else may have been faster
        if found is None:
            raise UnknownCollectionError(f"there is no collection {name} on {self.url}", "Index the source first.")
        return Collection(f"{name} on {self.url}", found, self._batch, self._ask)

    def rename(self, name: str, owner: str, new: str) -> None:
        """Rename a collection; does nothing if it has the new name already, as after a lost reply.

        Args:
            name: its name.
            owner: the name of the ledger it belongs to.
            new: the new name, which must be free.
        """
        found = self._find(name, owner)
        if found is None and self.has(new, owner):
            return

        def modify() -> None:
            if found is not None and found.name != new:
                found.modify(name=new)

        self._ask(modify)

    def delete(self, name: str, owner: str) -> None:
        """Delete a collection; a missing one is no error."""
        if self._find(name, owner) is not None:
            self._ask(lambda: self._delete(name))

    def fingerprint(self, name: str, owner: str) -> str:
        """The collection's identity and number of records as a text; '' if there is no such collection."""
        found = self._find(name, owner)
        return "" if found is None else f"{self.url} {found.id} {self._ask(found.count)}"

    def _delete(self, name: str) -> None:
        from chromadb.errors import NotFoundError

        try:
            self._sdk().delete_collection(name)
        except NotFoundError:  # the reply of an earlier try was lost
            log.debug("%s no longer exists", name)

    def _find(self, name: str, owner: str) -> Any:
        from chromadb.errors import NotFoundError

        def get() -> Any:
            try:
                return self._sdk().get_collection(name, embedding_function=None)
            except NotFoundError:
                return None

        found = self._ask(get)
        if found is not None:
            self._check_owner(found, name, owner)
        return found

    def _check_owner(self, found: Any, name: str, owner: str) -> None:
        if (found.metadata or {}).get(OWNER) != owner:
            raise ForeignCollectionError(
                f"the collection {name} on {self.url} was not made by this source",
                "It was not changed. Rename it there, or choose another prefix: the setting vectors.chroma_prefix.",
            )

    def _sdk(self) -> Any:
        """Chroma's client, connected. Raises the errors of httpx and chromadb."""
        if self._client is None:
            self._check_answers()
            import chromadb
            from chromadb.config import Settings as ChromaSettings

            client = chromadb.HttpClient(
                self.url,
                port=urlsplit(self.url).port or 8000,
                headers=dict(self._headers),
                settings=ChromaSettings(anonymized_telemetry=False),
            )
            # Chroma has no setting for either. A hook sees the status, which the client drops if a reply is not JSON.
            session: Any = client._server._session
            session.timeout = TIMEOUT
            session.event_hooks = {"response": [_check_status]}
            self._batch = client.get_max_batch_size()
            self._client = client
        return self._client

    def _check_answers(self) -> None:
        """Check that a Chroma server answers at the address, because the client's own errors say less."""
        import httpx

        with httpx.Client(timeout=TIMEOUT, headers=self._headers, event_hooks={"response": [_check_status]}) as client:
            answer = client.get(f"{self.url}/api/v2/heartbeat")
        try:
            if "nanosecond heartbeat" in answer.json():
                return
        except (ValueError, TypeError):
            pass
        raise MissingRequirementError(
            f"what answers at {self.url} is not a Chroma server", "Correct the setting vectors.chroma."
        )

    def _ask(self, work: Callable[[], Found]) -> Found:
        """Do some work and return its result; repeats it while the server is unavailable, up to the time to wait."""
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every request
        until = time.monotonic() + self._waiting.seconds
        tries = 0
        while True:
            try:
                return work()
            except Exception as error:  # noqa: BLE001 — many unrelated types; each is explained, none swallowed
                failure = self._explain(error)
                if not isinstance(failure, ServerAwayError) or time.monotonic() >= until:
                    raise failure from None  # the library's exception may quote a header
            pause = min(until - time.monotonic(), backoff_seconds(tries, FIRST_WAIT, MAX_WAIT))
            tries += 1
            sleep(pause, partial(self._waiting.on_wait, f"waiting for the Chroma server: {failure.message}"))

    def _explain(self, error: Exception) -> Exception:
        import httpx
        from chromadb.errors import ChromaError, NotFoundError

        if isinstance(error, KbjobsError):
            return error
        cause = error if isinstance(error, _StatusError | httpx.TransportError) else error.__context__
        if isinstance(cause, _StatusError):
            return self._explain_status(cause)
        if isinstance(cause, httpx.TimeoutException):
            return self._away(f"{self.url} did not answer within {TIMEOUT:g} s")
        if isinstance(cause, httpx.TransportError):
            return self._away(f"{self.url} cannot be reached, or broke off its answer")
        says = self._quote(str(error))
        if isinstance(error, NotFoundError):
            return UnknownCollectionError(f"{self.url}: {says}", "Someone has deleted it. Try again.")
        if isinstance(error, ChromaError) and not any(word in says.lower() for word in FULL):
            return self._away(f"{self.url} says: {says}") if _is_internal(error) else self._failed(says)
        if any(word in says.lower() for word in FULL):
            return ServerFullError(
                f"the disk of the Chroma server {self.url} is full ({says})",
                "Free some space there and try again. Nothing that the ledger holds is embedded again.",
            )
        return self._failed(f"{type(error).__name__}: {says}")

    def _explain_status(self, error: _StatusError) -> Exception:
        says = self._quote(error.text)
        if error.status in (401, 403, 407):
            # Do not quote the server, which may repeat the token.
            return MissingRequirementError(
                f"{self.url} refuses {CHROMA_TOKEN} with status {error.status}"
                if self._headers
                else f"{self.url} wants a token (status {error.status})",
                f"kbjobs config set-secret {CHROMA_TOKEN}; the setting vectors.chroma_header names its header.",
            )
        if any(word in says.lower() for word in FULL) or error.status == 507:
            return self._explain(OSError(f"disk full: {says}"))
        if error.status in (408, 425, 429) or error.status >= 500:
            return self._away(f"{self.url} answers with status {error.status}: {says}")
        return MissingRequirementError(
            f"{self.url} answers with status {error.status}: {says}", "Correct the setting vectors.chroma."
        )

    def _away(self, told: str) -> ServerAwayError:
        return ServerAwayError(
            told,
            "Check that the server is running (after a full disk, it must be restarted), then try again. Nothing"
            " that the ledger holds is embedded again.",
        )

    def _failed(self, says: str) -> UnavailableError:
        return UnavailableError(f"the Chroma server {self.url} failed: {says}", "Look at its log.")

    def _quote(self, text: str) -> str:
        """The server's message, without the values of headers sent to it."""
        sent = self._headers.values()
        return clean_message(text, [*sent, *(value.removeprefix("Bearer ") for value in sent)]) or "nothing"


class _StatusError(Exception):
    """A reply with an error status that is not Chroma's own error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status, self.text = status, text


def _check_status(answer: Any) -> None:
    """Raise _StatusError for an error reply that is not a Chroma server's own."""
    if answer.status_code < 300:
        return
    answer.read()
    text = answer.text
    try:
        body = json.loads(text)
        is_own = isinstance(body, dict) and isinstance(body.get("error"), str) and answer.status_code not in (401, 403)
    except (ValueError, RecursionError):
        is_own = False
    if not is_own:
        raise _StatusError(answer.status_code, text[:2000])


def _is_internal(error: Any) -> bool:
    """Whether the server itself failed, for example at a lock of its database, so that another try may succeed."""
    return type(error).__name__ in ("InternalError", "RateLimitError", "QuotaError", "ChromaError")
