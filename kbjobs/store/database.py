"""An open SQLite file of the store: what the queue, a ledger and a frontier have in common."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kbjobs.system.closing import Closable


class Database(Closable):
    """An open file, to be closed or used as a context. Only ``store/`` touches its ``connection``."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
