"""A store accessed through obstore: S3 and compatible stores, Google Cloud Storage, Azure.

Facts about obstore 0.12: it retries a create whose reply was lost, and then reports that the object exists, although it
is our own; it would write more than 5 MiB in several parts, which a kill leaves behind and obstore cannot list, so
multipart writes are turned off here; it retries failed requests by itself.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from kbjobs.errors import KbjobsError, MissingRequirementError, NotFoundError, TransientError, UnavailableError
from kbjobs.net.messages import clean_message
from kbjobs.object_storage.bucket import Content, StoredObject
from kbjobs.object_storage.folder import write_pieces, writing

PROBES = "probes/"
"""The folder for probes whether a store obeys conditions on writes."""
Found = TypeVar("Found")
# The names of errors of S3 and compatible stores: AWS, "Error responses", Amazon S3 API reference.
_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired")
_REGION = (
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraint",
    "redirect without LOCATION",
)
_FULL = ("No space left", "InsufficientStorage", "507", "QuotaExceeded", "XMinioStorageFull", "disk full")
_AWAY = re.compile(
    r"error sending request|timed out|connection (?:refused|reset|closed)|dns error|status code: (?:429|50[0234])"
    r"|SlowDown|response body",
    re.IGNORECASE,
)


class RemoteBucket:
    """A store accessed through obstore.

    Args:
        label: its address, for messages.
        store: the store object of obstore.
        secret: values that must not appear in messages.
        hint: how to set its credentials.
    """

    def __init__(self, label: str, store: Any, secret: Sequence[str] = (), hint: str = "") -> None:
        self.label = label
        self._store, self._secret, self._hint = store, [value for value in secret if value], hint

    def find(self, name: str) -> StoredObject | None:
        """As :meth:`Bucket.find`."""
        found = self._ask(lambda: self._store.head(name), "read")
        return None if found is None else StoredObject(name, int(found["size"]), found["last_modified"])

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """As :meth:`Bucket.list`."""
        pages = iter(self._store.list(prefix))
        while True:
            page = self._ask(lambda: next(pages, None), "list")
            if page is None:
                return
            for one in page:
                yield StoredObject(str(one["path"]), int(one["size"]), one["last_modified"])

    def read(self, name: str, most: int) -> Content | None:
        """As :meth:`Bucket.read`."""

        def fetch() -> Content:
            answer = self._store.get(name)
            data = bytearray()
            for chunk in answer.stream(min_chunk_size=1 << 20):
                data += chunk
                if len(data) > most:
                    break
            return Content(bytes(data[: most + 1]), answer.meta["e_tag"])

        return self._ask(fetch, "read")

    def save(self, name: str, path: Path, most: int) -> bool:
        """As :meth:`Bucket.save`."""

        def fetch() -> bool:
            pieces = self._store.get(name).stream(min_chunk_size=1 << 20)
            write_pieces(pieces, path, most, f"{self.label}/{name}")
            return True

        with writing(path):
            return bool(self._ask(fetch, "read"))

    def put(self, name: str, data: bytes) -> None:
        """As :meth:`Bucket.put`."""
        self._ask(lambda: self._store.put(name, data, use_multipart=False), "write", name)

    def put_new(self, name: str, data: bytes) -> bool:
        """As :meth:`Bucket.put_new`."""
        return self._put_if(name, data, "create")

    def put_over(self, name: str, data: bytes, tag: str | None) -> bool:
        """As :meth:`Bucket.put_over`."""
        return self._put_if(name, data, {"e_tag": tag})

    def _put_if(self, name: str, data: bytes, mode: Any) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def write() -> bool:
            try:
                self._store.put(name, data, mode=mode, use_multipart=False)
            except (FileExistsError, AlreadyExistsError, PreconditionError):
                return False
            return True

        return bool(self._ask(write, "write", name))

    def delete(self, names: Sequence[str]) -> None:
        """As :meth:`Bucket.delete`."""
        for start in range(0, len(names), 1000):
            batch = list(names[start : start + 1000])
            self._ask(lambda batch=batch: self._store.delete(batch), "delete")  # type: ignore[misc]

    def locked(self, name: str) -> AbstractContextManager[None]:
        """As :meth:`Bucket.locked`; not needed, since the store checks conditions."""
        return nullcontext()

    def keeps_conditions(self) -> bool:
        """As :meth:`Bucket.keeps_conditions`."""
        name = f"{PROBES}{secrets.token_hex(8)}"
        try:
            if not self.put_new(name, b"1"):
                return True  # the reply to the first try was lost: the store does check what exists
            if self.put_new(name, b"2") or self.put_over(name, b"3", '"no such tag"'):
                return False
            there = self.read(name, 10)
            return there is not None and self.put_over(name, b"4", there.tag)
        finally:
            self.delete([name])

    def close(self) -> None:
        """Do nothing, since nothing is kept open."""

    def _ask(self, work: Callable[[], Found], what: str, name: str = "") -> Found | None:
        """Do the work and return its result; None if an object does not exist."""
        from obstore import exceptions

        try:
            return work()
        except (FileNotFoundError, exceptions.NotFoundError) as error:  # obstore raises both
            if "NoSuchBucket" in str(error) or what in ("list", "write"):
                failure: KbjobsError = NotFoundError(f"there is no {self.label}", "Create it, or correct the address.")
            else:
                return None
        except OSError as error:
            if error.errno is not None:  # an error of this machine's disk
                raise
            failure = self._explain(error, what)
        except exceptions.BaseError as error:
            failure = self._explain(error, what)
        raise failure  # outside of the handlers, because the library's exceptions may quote what was sent

    def _explain(self, error: Exception, what: str) -> KbjobsError:
        from obstore import exceptions

        text = str(error)
        says = self._quote(text)
        if "RequestTimeTooSkewed" in text:
            return UnavailableError(
                f"{self.label} refuses requests: this machine's clock is wrong",
                "Set the clock, for example with timedatectl.",
            )
        if any(word in text for word in _REGION):
            wanted = re.search(r"<Region>([^<]+)|expecting '([a-z0-9-]+)'", text)
            region = next((one for one in wanted.groups() if one), "") if wanted else ""
            told = f", which is {region}" if region else ""
            return MissingRequirementError(
                f"{self.label} lies in another region{told}", f"Set s3.region{f' = {region!r}' if region else ''}."
            )
        if isinstance(error, exceptions.UnauthenticatedError) or any(word in text for word in _REFUSED):
            return MissingRequirementError(f"{self.label} refuses the credentials", self._hint)
        if isinstance(error, exceptions.PermissionDeniedError) or "AccessDenied" in text:
            return MissingRequirementError(f"{self.label} does not allow kbjobs to {what} ({says})", self._hint)
        if any(word in text for word in _FULL):
            return UnavailableError(f"{self.label} is full ({says})", "Free some space there and try again.")
        if "NoSuchBucket" in text:
            return NotFoundError(f"there is no {self.label}", "Create it, or correct the address.")
        if _AWAY.search(text):
            return TransientError(f"{self.label} does not answer: {says}", "Try again: it resumes.")
        return UnavailableError(f"{self.label} failed: {says}", "Look at its log.")

    def _quote(self, text: str) -> str:
        """The error's text on one line, shortened and without secrets."""
        return clean_message(text.partition("Debug source:")[0], self._secret)
