"""A read-only store on a web server. Requests use the client that checks every address it connects to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import quote

from kbjobs.errors import DownloadError, UnavailableError
from kbjobs.net.backoff import AwayError, Backoff
from kbjobs.net.requesting import RefusedError, Response, get
from kbjobs.object_storage.bucket import Content, StoredObject
from kbjobs.object_storage.folder import write_pieces, writing

GIVE_UP_SECONDS = 60.0
"""Seconds without a reply after which the server is given up for now."""

Found = TypeVar("Found")


class WebBucket:
    """A store below a web address.

    Args:
        label: the address.
    """

    def __init__(self, label: str) -> None:
        self.label = label

    def find(self, name: str) -> StoredObject | None:
        """As :meth:`Bucket.find`."""

        def look(answer: Response) -> StoredObject:
            length = answer.headers.get("content-length", "")
            return StoredObject(name, int(length) if length.isdecimal() else 0, _read_date(answer))

        return self._ask(name, look)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """As :meth:`Bucket.list`."""
        self._refuse("list what is there")

    def read(self, name: str, most: int) -> Content | None:
        """As :meth:`Bucket.read`."""

        def fetch(answer: Response) -> Content:
            data = bytearray()
            for piece in _pieces(answer):
                data += piece
                if len(data) > most:
                    break
            return Content(bytes(data[: most + 1]), answer.headers.get("etag"))

        return self._ask(name, fetch)

    def save(self, name: str, path: Path, most: int) -> bool:
        """As :meth:`Bucket.save`."""

        def fetch(answer: Response) -> bool:
            write_pieces(_pieces(answer), path, most, f"{self.label}/{name}")
            return True

        with writing(path):
            return bool(self._ask(name, fetch))

    def put(self, name: str, data: bytes) -> None:
        """As :meth:`Bucket.put`."""
        self._refuse("write")

    def put_new(self, name: str, data: bytes) -> bool:
        """As :meth:`Bucket.put_new`."""
        self._refuse("write")

    def put_over(self, name: str, data: bytes, tag: str | None) -> bool:
        """As :meth:`Bucket.put_over`."""
        self._refuse("write")

    def delete(self, names: Sequence[str]) -> None:
        """As :meth:`Bucket.delete`."""
        self._refuse("delete")

    def locked(self, name: str) -> AbstractContextManager[None]:
        """As :meth:`Bucket.locked`; not needed, since nothing is changed here."""
        return nullcontext()

    def keeps_conditions(self) -> bool:
        """As :meth:`Bucket.keeps_conditions`: nothing is written here."""
        return False

    def close(self) -> None:
        """Do nothing, since nothing is kept open."""

    def _refuse(self, what: str) -> NoReturn:
        raise UnavailableError(
            f"{self.label} is a web server, which does not let kbjobs {what}", "Give the address of the store itself."
        )

    def _ask(self, name: str, take: Callable[[Response], Found]) -> Found | None:
        url = f"{self.label}/{quote(name)}"
        backoff = Backoff(url, GIVE_UP_SECONDS)
        while True:
            try:
                with get(url) as answer:
                    return take(answer)
            except AwayError as error:
                backoff.pause(error)
            except RefusedError as error:
                if error.status in (404, 410):
                    return None
                raise error.explain() from error
            except DownloadError as error:
                raise UnavailableError(error.message, error.hint) from error


def _pieces(answer: Response) -> Iterator[bytes]:
    """Yield the body of a reply in pieces. Raises AwayError if it is cut off."""
    size = 0
    for piece in answer.pieces(lambda: None):
        size += len(piece)
        yield piece
    declared = answer.headers.get("content-length", "")
    if declared.isdecimal() and size < int(declared):
        raise AwayError("broke off")


def _read_date(answer: Response) -> datetime:
    try:
        return parsedate_to_datetime(answer.headers.get("last-modified", "")).astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
