"""Reading a ledger that cannot be opened as usual: on a read-only disk, or on one without a free byte."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from kbjobs.errors import UnavailableError
from kbjobs.store.connection import connect_read_only
from kbjobs.store.ledger import LEDGER_VERSION, Ledger
from kbjobs.store.snapshot import copy_database, find_memory, is_unwritable


class LedgerCopy(Ledger):
    """A temporary copy of a ledger, for reading: writes to it are lost."""

    def __init__(self, path: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kbjobs-ledger-", dir=find_memory())
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


def open_ledger(path: Path) -> Ledger:
    """Open a ledger for reading: the file itself, read-only if need be. A copy, which may be large, is the last resort.

    Raises UnavailableError as :class:`Ledger` does.
    """
    try:
        return Ledger(path)
    except UnavailableError as error:
        if not is_unwritable(error.__cause__):
            raise
    try:
        connection = connect_read_only(path, LEDGER_VERSION)
    except sqlite3.Error:
        connection = None
    return LedgerCopy(path) if connection is None else Ledger(path, connection)
