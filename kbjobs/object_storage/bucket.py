"""The interface of a store to the rest of the program: names, bytes, and conditional writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from kbjobs.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A stored object: its name below the root, its size in bytes, and when it was written (UTC)."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Content:
    """An object's bytes, and the tag with which a later write checks that the object is unchanged."""

    data: bytes
    tag: str | None


class NoObjectError(UnavailableError):
    """In place of an object there is something else: a link, a pipe, a folder."""


class Bucket(Protocol):
    """A store below some root. Names may contain slashes, but never begin with one. Safe for several threads.

    All methods raise MissingRequirementError if credentials are missing or refused, TransientError if the store does
    not answer, and UnavailableError for other obstacles.
    """

    @property
    def label(self) -> str:
        """Its address without credentials, for messages."""
        ...

    def find(self, name: str) -> StoredObject | None:
        """Find an object by its name; None if there is none."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List the objects in a folder, given with its trailing slash."""
        ...

    def read(self, name: str, most: int) -> Content | None:
        """Read an object, of a larger one only ``most`` bytes plus one; None if there is none."""
        ...

    def save(self, name: str, path: Path, most: int) -> bool:
        """Download an object into a file.

        Args:
            name: the object's name.
            path: the file to write.
            most: the largest size of the object in bytes.

        Returns:
            False if there is no such object.

        Raises:
            UnavailableError: the object is larger than ``most``; the file is removed then.
        """
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write an object, replacing an existing one."""
        ...

    def put_new(self, name: str, data: bytes) -> bool:
        """Write an object if there is none; False if there is one, which may be our own after a lost reply."""
        ...

    def put_over(self, name: str, data: bytes, tag: str | None) -> bool:
        """Replace an object if it is unchanged since it was read.

        Args:
            name: the object's name.
            data: the new bytes.
            tag: the tag that was read with the object.

        Returns:
            False if the object has changed meanwhile.
        """
        ...

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; missing ones are no error."""
        ...

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Keep others on this machine from changing an object, if the store itself cannot detect changes."""
        ...

    def keeps_conditions(self) -> bool:
        """Whether the store obeys conditions on writes; tested by writing a probe."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...
