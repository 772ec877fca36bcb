"""Opening ``state.db`` in the format of this program."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.errors import UnavailableError
from kbjobs.store.connection import connect

STATE_VERSION = 5
LOG_PAGES = 4_000
"""Pages of the write-ahead log after which it is copied into the file: 8 MB. A job writes ten, mostly the same."""


def open_state(path: Path) -> sqlite3.Connection:
    """Open the state, creating or migrating it if needed. Raises UnavailableError: see :func:`connect`."""
    connection = connect(path, STATE_VERSION, _migrate)
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    return connection


def set_durability(connection: sqlite3.Connection, level: str) -> None:
    """Set what later writes survive: at ``FULL`` also a power cut, at ``NORMAL`` only the end of the process.

    Writes at ``NORMAL`` are synced with the next write at ``FULL``, by any process.
    """
    # This pragma acts when it is prepared (sqlite.org/pragma.html), and execute() caches prepared statements.
    connection.executescript(f"PRAGMA synchronous = {level}")


class OlderDaemonError(UnavailableError):
    """The state has an older format, and a running daemon does not know the newer one."""


def _migrate(connection: sqlite3.Connection) -> None:
    from kbjobs.store import migrations

    path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
    _refuse_under_daemon(connection, path)
    migrations.apply_migrations(connection, path, migrations.STATE)


def _refuse_under_daemon(connection: sqlite3.Connection, path: Path) -> None:
    """Raise OlderDaemonError if record and lock show that another process serves this state as its daemon."""
    from kbjobs.store.locks import is_held_by, is_locked

    lock = Home(path.parent).daemon_lock
    if not connection.execute("PRAGMA user_version").fetchone()[0] or not is_locked(lock):
        return
    found = connection.execute("SELECT pid, version FROM daemon").fetchone()
    if found is None or found[0] == os.getpid() or not is_held_by(found[0], lock):
        return
    raise OlderDaemonError(
        f"the daemon of kbjobs {found[1]} (process {found[0]}) serves {path} and does not know its newer format",
        "Stop it with kbjobs daemon stop, then try again. Nothing was changed.",
    )
