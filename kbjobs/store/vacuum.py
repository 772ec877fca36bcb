"""Giving the unused part of an SQLite file back to the disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from kbjobs.errors import UnavailableError
from kbjobs.store.connection import explain
from kbjobs.store.database import Database

WORTH_FREEING = 0.1  # share of a file that must be unused before a job rewrites it unasked
MARGIN_BYTES = 16 * 1024 * 1024


def free_space(file: Database) -> int:
    """As :func:`vacuum`, if it is worth the time; returns 0 if too little is unused, or the disk has no room."""
    try:
        return vacuum(file, WORTH_FREEING)
    except UnavailableError:
        return 0


def vacuum(file: Database, min_share: float = 0.0) -> int:
    """Give a file's unused space back to the disk; returns the number of bytes.

    SQLite must rewrite the file: it copies the used part once into a temporary file and once into the log. That much
    space must be free meanwhile, and it takes about a second per 100 MB. A kill leaves the file unchanged. Nothing is
    done if less than the share ``min_share`` of the file is unused.

    Raises UnavailableError if the disk has no room for it, or fills up; the file is unchanged then.
    """
    connection, path = file.connection, file.path
    try:
        # Empty the log first, so that the file has its true size.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page, pages, unused = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_size", "page_count", "freelist_count")
        )
        before = path.stat().st_size
        if unused and unused >= min_share * pages:
            _check_room(path, (pages - unused) * page)
            connection.execute("VACUUM")
        # Otherwise the file keeps its size until the log is next emptied.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (OSError, sqlite3.Error) as error:
        raise explain(error, path) from error
    return max(0, before - path.stat().st_size)


def temporary_folder() -> Path:
    """The folder for SQLite's temporary files (sqlite.org/tempfiles.html, 5)."""
    places = [os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp"]  # noqa: S108
    return next((Path(name) for name in places if name and os.access(name, os.W_OK | os.X_OK)), Path())


def _check_room(path: Path, content: int) -> None:
    """Raise UnavailableError if there is no room for the copies of ``content`` bytes."""
    temporary = temporary_folder()
    is_one_disk = temporary.stat().st_dev == path.parent.stat().st_dev
    for folder in {path.parent, temporary}:
        needed = content * (2 if is_one_disk else 1) + MARGIN_BYTES
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise UnavailableError(
                f"{free:,} bytes are free on the disk of {folder}, writing {path} anew needs {needed:,} for a while",
                "Free some space and try again. Nothing was lost. SQLITE_TMPDIR names another folder for"
                " temporary files.",
            )
