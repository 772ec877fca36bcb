"""Reading a state that cannot be opened where it lies: on a read-only disk, or on one without a free byte.

SQLite needs to write beside a file in WAL mode even to read it (sqlite.org/wal.html, "Read-Only Databases"). A copy in
memory, or else in the folder for temporary files, can be read everywhere.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from kbjobs.errors import UnavailableError
from kbjobs.store.queue import Queue
from kbjobs.store.state import OlderDaemonError

MEMORY = "/dev/shm"  # noqa: S108 — what is made in it is private and has a name of its own
_UNWRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)


class Snapshot(Queue):
    """A copy of the state, to be read only: nothing that is written to it is kept."""

    def __init__(self, path: Path) -> None:
        from tempfile import TemporaryDirectory  # a state that is read where it lies needs none

        self._folder = TemporaryDirectory(prefix="kbjobs-state-", dir=find_memory())
        try:
            copy_database(path, Path(self._folder.name, path.name))
            super().__init__(Path(self._folder.name, path.name))
        except BaseException:
            self._folder.cleanup()
            raise

    def close(self) -> None:
        """Close and remove the copy."""
        super().close()
        self._folder.cleanup()


def open_to_read(path: Path) -> Queue | None:
    """The queue to read, if its file exists: itself, or a copy if its folder cannot be written."""
    if not path.exists():
        return None
    try:
        return Queue(path)
    except OlderDaemonError:  # it goes on with the file as it is: only the copy gets the newer format
        return Snapshot(path)
    except UnavailableError as error:
        if not is_unwritable(error.__cause__):
            raise
        return Snapshot(path)


def copy_database(path: Path, copy: Path) -> None:
    """Copy a database: as of one moment where SQLite can read it, else as it lies there."""
    try:
        address = f"file:{quote(str(path))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error:
        for suffix in ("", "-wal"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                shutil.copyfile(file, copy.with_name(file.name))


def find_memory() -> str | None:
    """A folder in memory (shm_overview(7)), if there is one: that for temporary files may be on the full disk."""
    return MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else None


def is_unwritable(error: BaseException | None) -> bool:
    """Whether a database cannot be opened because its folder cannot be written."""
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _UNWRITABLE
    return isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT)
