"""Reading a state that cannot be opened in place: on a read-only disk, or on one without a free byte.

Even to read a file in WAL mode, SQLite needs to write next to it (sqlite.org/wal.html, "Read-Only Databases"). So it is
copied into memory, or else into the folder for temporary files.
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

MEMORY = "/dev/shm"  # noqa: S108 — folders made in it are private and have unique names
_UNWRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)


class Snapshot(Queue):
    """A temporary copy of the state, for reading: writes to it are lost."""

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
    """Open the queue for reading; a copy of it if its folder is not writable or an older daemon serves it.

    Returns None if there is no state file.
    """
    if not path.exists():
        return None
    try:
        return Queue(path)
    except OlderDaemonError:  # the daemon keeps the file in its format: only the copy is migrated
        return Snapshot(path)
    except UnavailableError as error:
        if not is_unwritable(error.__cause__):
            raise
        return Snapshot(path)


def copy_database(path: Path, copy: Path) -> None:
    """Copy a database: a consistent snapshot if SQLite can read it, otherwise its files."""
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
    """A folder in memory (shm_overview(7)), if there is one; the folder for temporary files may be on the full disk."""
    return MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else None


def is_unwritable(error: BaseException | None) -> bool:
    """Whether an error may mean that a database cannot be opened because its folder is not writable."""
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _UNWRITABLE
    return isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT)
