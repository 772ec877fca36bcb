"""An open SQLite file of the store: the common base of the queue, a ledger and a frontier."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kbjobs.system.closing import Closable


class Database(Closable):
    """An open file; close it, or use it as a context. Only ``store/`` touches its ``connection``."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
