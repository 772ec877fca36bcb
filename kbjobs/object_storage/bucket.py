"""What the rest of the program sees of a store: names, bytes, and writes that ask for what is there."""

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
    """What an object holds, and the tag by which a later write asks whether it still does."""

    data: bytes
    tag: str | None


class NoObjectError(UnavailableError):
    """In the place of an object lies something else: a link, a pipe, a folder."""


class Bucket(Protocol):
    """A store below some root. Names have slashes, never a first one. Safe to be used by several threads.

    All methods raise MissingRequirementError where credentials are missing or refused, TransientError where the store
    does not answer, UnavailableError for what else stands in the way.
    """

    @property
    def label(self) -> str:
        """Its address without credentials, for messages."""
        ...

    def find(self, name: str) -> StoredObject | None:
        """The object of a name; None where there is none."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """The objects whose names begin with a folder, given with its slash."""
        ...

    def read(self, name: str, most: int) -> Content | None:
        """An object's bytes, of a larger one up to one more than ``most``; None where there is none."""
        ...

    def save(self, name: str, path: Path, most: int) -> bool:
        """Write an object into a file of this machine; False where there is none.

        Raises UnavailableError where it has more than ``most`` bytes; the file is removed then.
        """
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write an object, replacing one that is there."""
        ...

    def put_new(self, name: str, data: bytes) -> bool:
        """Write an object where there is none; False where there is one, which may be our own after a lost reply."""
        ...

    def put_over(self, name: str, data: bytes, tag: str | None) -> bool:
        """Write an object over the one that was read with a tag; False where it is another one by now."""
        ...

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are no error."""
        ...

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Keeps others on this machine from changing an object, where the store itself cannot tell that they did."""
        ...

    def keeps_conditions(self) -> bool:
        """Whether writes that ask for what is there are answered truly; found out by writing once."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
