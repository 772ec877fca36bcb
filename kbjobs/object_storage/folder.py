"""A store in a local folder. Each file is written under a temporary name, flushed to disk and renamed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kbjobs.errors import UnavailableError
from kbjobs.object_storage.bucket import Content, NoObjectError, StoredObject
from kbjobs.store.connection import is_disk_full
from kbjobs.store.locks import try_lock
from kbjobs.system.files import atomic_write, sync_folder

UNFINISHED = ".part-"
"""Name prefix of a file that is being written."""
LOCK_SECONDS = 60.0


class FolderBucket:
    """A store in a folder, which is created by the first write.

    ``is_durable``: written files survive a power cut. Otherwise a file may then exist with other content.
    """

    def __init__(self, root: Path, is_durable: bool = True) -> None:
        self.root, self._is_durable = root, is_durable
        self.label = str(root)

    def find(self, name: str) -> StoredObject | None:
        """As :meth:`Bucket.find`; links do not count as objects."""
        try:
            found = (self.root / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(self.root / name, error) from error
        if not stat.S_ISREG(found.st_mode):
            return None
        return StoredObject(name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """As :meth:`Bucket.list`."""
        top = self.root / prefix
        for path in sorted(top.rglob("*")) if top.is_dir() else ():
            entry = self.find(str(path.relative_to(self.root)))
            if entry is not None and not path.name.startswith(UNFINISHED):
                yield entry

    def read(self, name: str, most: int) -> Content | None:
        """As :meth:`Bucket.read`; links are never followed, and pipes are not waited for."""
        path = self.root / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
                raise NoObjectError(f"{path} is not a regular file", "Remove it.") from error
            raise _unreadable(path, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NoObjectError(f"{path} is not a regular file", "Remove it.")
        with os.fdopen(descriptor, "rb") as file:
            return Content(file.read(most + 1), _tag(os.fstat(descriptor)))

    def save(self, name: str, path: Path, most: int) -> bool:
        """As :meth:`Bucket.save`."""
        there = self.find(name)
        if there is None:
            return False
        if there.size > most:
            raise refuse_size(str(self.root / name), most)
        with writing(path):
            shutil.copyfile(self.root / name, path)
        return True

    def put(self, name: str, data: bytes) -> None:
        """As :meth:`Bucket.put`."""
        self._write(name, data)

    def put_new(self, name: str, data: bytes) -> bool:
        """As :meth:`Bucket.put_new`; the caller holds :meth:`locked`."""
        if self.find(name) is not None:
            return False
        self._write(name, data)
        return True

    def put_over(self, name: str, data: bytes, tag: str | None) -> bool:
        """As :meth:`Bucket.put_over`; the caller holds :meth:`locked`."""
        path = self.root / name
        if self.find(name) is None or _tag(path.lstat()) != tag:
            return False
        self._write(name, data)
        return True

    def delete(self, names: Sequence[str]) -> None:
        """As :meth:`Bucket.delete`; folders that become empty are removed, too."""
        for name in names:
            path = self.root / name
            with writing(path):
                path.unlink(missing_ok=True)
                for folder in path.parents:
                    if folder == self.root or not folder.is_dir() or any(folder.iterdir()):
                        break
                    folder.rmdir()

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """As :meth:`Bucket.locked`."""
        path = self.root / f".{name.replace('/', '-')}.lock"
        with writing(path):
            _make_folder(self.root)
            lock = try_lock(path, LOCK_SECONDS)
        if lock is None:
            raise UnavailableError(
                f"{self.root / name} has been kept locked by other programs for {LOCK_SECONDS:g} s",
                "Try again.",
            )
        try:
            yield
        finally:
            lock.release()

    def keeps_conditions(self) -> bool:
        """As :meth:`Bucket.keeps_conditions`: writers hold the lock."""
        return True

    def close(self) -> None:
        """Do nothing, since nothing is kept open."""

    def _write(self, name: str, data: bytes) -> None:
        path = self.root / name
        with writing(path):
            _make_folder(path.parent)
            unfinished = path.parent / f"{UNFINISHED}{uuid.uuid4().hex}"
            with atomic_write(path, unfinished, durable=self._is_durable) as file:
                file.write(data)
            if self._is_durable:
                sync_folder(path.parent)


def _make_folder(path: Path) -> None:
    """Create a folder and missing parents, all private; mkdir itself would make the parents readable by others."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def _tag(found: os.stat_result) -> str:
    """A tag that changes with each rename into place."""
    return f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of writing a file into an UnavailableError that explains it."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise UnavailableError(
                f"the disk that holds {path.parent} is full", "Free some space and run the same again."
            ) from error
        raise UnavailableError(
            f"cannot write {path}: {error.strerror}", "Check that its folder is there and writable for you."
        ) from error


def _unreadable(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(f"cannot read {path}: {error.strerror}", "Check its permissions.")


def write_pieces(pieces: Iterable[bytes], path: Path, most: int, what: str) -> None:
    """Write pieces of bytes into a file.

    Args:
        pieces: the pieces, in order.
        path: the file to write.
        most: the largest size in bytes.
        what: the name of the content, for the error.

    Raises:
        UnavailableError: there are more than ``most`` bytes; the file is removed then.
    """
    size = 0
    with path.open("wb") as file:
        for piece in pieces:
            size += len(piece)
            if size > most:
                break
            file.write(piece)
    if size > most:
        path.unlink()
        raise refuse_size(what, most)


def refuse_size(what: str, most: int) -> UnavailableError:
    """Make the error for an object that is larger than allowed."""
    return UnavailableError(
        f"{what} has more than {most:,} bytes",
        "It was not read. Check the address of the store, or upload the source again.",
    )
