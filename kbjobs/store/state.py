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
"""Pages of the write-ahead log after which it is written into the file: 8 MB. A job writes ten, mostly the same."""


def open_state(path: Path) -> sqlite3.Connection:
    """The state, made or migrated where needed. Raises UnavailableError: see :func:`connect`."""
    connection = connect(path, STATE_VERSION, _migrate)
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    return connection


def set_durability(connection: sqlite3.Connection, level: str) -> None:
    """Set what writes outlive from now on: ``FULL`` also the loss of power, ``NORMAL`` only the end of the process.

    What is written at ``NORMAL`` is synced with the next write at ``FULL``, whoever makes it.
    """
    # Not with execute(): such a pragma works while it is prepared (sqlite.org/pragma.html), and there it is only once.
    connection.executescript(f"PRAGMA synchronous = {level}")


class OlderDaemonError(UnavailableError):
    """The state has an older format, and a daemon serves it that does not know the newer one."""


def _migrate(connection: sqlite3.Connection) -> None:
    from kbjobs.store import migrations

    path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
    _refuse_under_daemon(connection, path)
    migrations.apply_migrations(connection, path, migrations.STATE)


def _refuse_under_daemon(connection: sqlite3.Connection, path: Path) -> None:
    """Raise OlderDaemonError if another process serves this state as its daemon, by its record and its lock."""
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
