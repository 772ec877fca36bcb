"""Forgetting vectors in a ledger, in steps, and giving their disk space back."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable

from kbjobs.store.connection import transaction
from kbjobs.store.ledger import Ledger

BATCH = 2_000  # vectors deleted and committed together: 12 MB of the log at 1536 dimensions
WORTH_FREEING = 0.1  # share of a file that must be unused before it is written anew
MARGIN_BYTES = 16 * 1024 * 1024


def mark_cleared(ledger: Ledger, model: int) -> None:
    """Note that the model's collection is gone on purpose, until it is built again."""
    with transaction(ledger.connection):
        ledger.connection.execute("UPDATE models SET cleared = 1, churn = 0 WHERE id = ?", (model,))


def delete_vectors(ledger: Ledger, model: int, on_progress: Callable[[int], None]) -> int:
    """Delete all vectors of a model batch by batch, then its row; returns how many this call has deleted.

    ``on_progress`` is told of each committed batch how many are deleted, and may raise.
    """
    deleted = 0
    while True:
        with transaction(ledger.connection):
            batch = ledger.connection.execute(
                "DELETE FROM vectors WHERE id IN (SELECT id FROM vectors WHERE model = ? LIMIT ?)", (model, BATCH)
            ).rowcount
            if batch < BATCH:
                ledger.connection.execute("DELETE FROM models WHERE id = ?", (model,))
        deleted += batch
        on_progress(deleted)
        if batch < BATCH:
            return deleted


def unused_bytes(ledger: Ledger) -> int:
    """How much of the ledger's file holds nothing."""
    pages = int(ledger.connection.execute("PRAGMA freelist_count").fetchone()[0])
    return pages * _page_bytes(ledger)


def free_space(ledger: Ledger) -> int:
    """Give the file's unused space back to the disk; returns how many bytes.

    SQLite can only write the file anew: what is left is copied once into a temporary file and once into the log
    (VACUUM), so this much must be free on the disk for a while, and it takes about a second for each 100 MB left.
    Where little is unused or too little is free, nothing is done: later vectors take the unused pages.
    """
    ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the file is as large as its content says
    unused = unused_bytes(ledger)
    pages = int(ledger.connection.execute("PRAGMA page_count").fetchone()[0])
    total = pages * _page_bytes(ledger)
    needed = 2 * (total - unused) + MARGIN_BYTES
    if unused < WORTH_FREEING * total or shutil.disk_usage(ledger.path.parent).free < needed:
        return 0
    before = ledger.path.stat().st_size
    try:
        ledger.connection.execute("VACUUM")
    except sqlite3.OperationalError:  # the disk of the temporary file is full, or another process is writing
        return 0
    # Without this the file keeps its size until the log is next emptied.
    ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return max(0, before - ledger.path.stat().st_size)


def _page_bytes(ledger: Ledger) -> int:
    return int(ledger.connection.execute("PRAGMA page_size").fetchone()[0])
