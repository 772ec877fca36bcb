"""Deleting vectors from a ledger, in steps."""

from __future__ import annotations

from collections.abc import Callable

from kbjobs.store.connection import transaction
from kbjobs.store.ledger import Ledger

BATCH = 2_000  # vectors deleted and committed together: 12 MB of the log at 1536 dimensions


def mark_cleared(ledger: Ledger, model: int) -> None:
    """Record that the model's collection was removed on purpose, until it is built again."""
    with transaction(ledger.connection):
        ledger.connection.execute("UPDATE models SET cleared = 1, churn = 0 WHERE id = ?", (model,))


def delete_vectors(ledger: Ledger, model: int, on_progress: Callable[[int], None]) -> int:
    """Delete all vectors of a model batch by batch, then its row.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        on_progress: called after each batch with the number deleted so far; may raise to stop.

    Returns:
        The number deleted by this call.
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
