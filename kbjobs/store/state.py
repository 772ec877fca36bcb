"""Opening ``state.db`` in the format of this program."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kbjobs.store.connection import connect

STATE_VERSION = 5
LOG_PAGES = 4_000
"""Pages of the write-ahead log after which it is written into the file: 8 MB. A job writes ten, mostly the same."""


def open_state(path: Path) -> sqlite3.Connection:
    """The state, made or migrated where needed. Raises UnavailableError: see :func:`connect`."""
    connection = connect(path, STATE_VERSION, _migrate)
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    return connection


def set_durability(connection: sqlite3.Connection, level: str) -> None:
    """Set what writes outlive from now on: ``FULL`` also the loss of power, ``NORMAL`` only that of the process.

    What is written at ``NORMAL`` is synced with the next write at ``FULL``, whoever makes it.
    """
    # Not with execute(): such a pragma works while it is prepared (sqlite.org/pragma.html), and there it is only once.
    connection.executescript(f"PRAGMA synchronous = {level}")


def _migrate(connection: sqlite3.Connection) -> None:
    from kbjobs.store import migrations

    path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
    migrations.apply_migrations(connection, path, migrations.STATE)
