"""Opening SQLite files: one set of pragmas, private permissions, errors a person can act on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kbjobs.errors import KbjobsError, UnavailableError

BUSY_SECONDS = 30.0


def connect(path: Path, version: int, migrate: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """Open ``path`` in WAL mode, creating or migrating it to ``version``.

    Opening never repairs or recovers anything: every command does it. The connection is in
    autocommit mode; use :func:`transaction` to write. Raises UnavailableError for a file that is
    damaged, newer than the program, or cannot be opened.
    """
    try:
        if not path.exists():
            # Created here and not by SQLite, so that it and its -wal and -shm are private.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise explain(error, path) from error
    try:
        connection.row_factory = sqlite3.Row
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > version:
            raise UnavailableError(
                f"{path} was written by a newer kbjobs (format {found}, this program knows {version})",
                "Upgrade kbjobs. The file was not touched.",
            )
        if found < version:
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT. A read followed by a write needs the write lock from its start:
    upgrading a read snapshot fails at once with SQLITE_BUSY, whatever the timeout."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def explain(error: Exception, path: Path) -> KbjobsError:
    """The UnavailableError that tells a person what an SQLite or OS error on ``path`` means."""
    text = str(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return UnavailableError(
            f"{path} is damaged: {text}",
            "It was not touched. Put a copy of it from your backup in its place, or move it (and its -wal "
            "and -shm) away to start anew.",
        )
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == 28:
        return UnavailableError(
            f"the disk that holds {path} is full", "Free some space and run the same again; nothing was lost."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UnavailableError(
            f"{path} was locked for more than {BUSY_SECONDS:.0f} s",
            "See which process holds it (fuser) and try again.",
        )
    return UnavailableError(
        f"{path} cannot be used: {text}",
        "Check that the folder exists, is writable for you and lies on a local disk.",
    )
