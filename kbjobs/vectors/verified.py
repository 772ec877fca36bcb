"""What is known of a published collection since it was verified: that nobody has written to it, and what it holds."""

from __future__ import annotations

import sqlite3

from kbjobs.vectors.collection_swap import WorkingCopy
from kbjobs.vectors.exact import Published
from kbjobs.vectors.indexed import Indexed
from kbjobs.vectors.wanted import LedgerRecords


def note_verified(indexed: Indexed, wanted: LedgerRecords) -> None:
    """Record that the published collection equals the ledger, which holds until somebody writes to either."""
    value = f"{wanted.state} {indexed.copies.describe()}"
    if indexed.ledger.fact(_verified(indexed)) != value:
        indexed.ledger.set_fact(_verified(indexed), value)


def is_verified(indexed: Indexed, wanted: LedgerRecords) -> bool:
    """Whether :func:`note_verified` recorded the current state of both the ledger and the published collection."""
    recorded = indexed.ledger.fact(_verified(indexed))
    return recorded is not None and recorded == f"{wanted.state} {indexed.copies.describe()}"


def find_published(indexed: Indexed) -> Published | None:
    """The published index, if nobody has written to it since it was verified; the ledger may have changed."""
    recorded = indexed.ledger.fact(_verified(indexed))
    if recorded is None:
        return None
    end = f" {indexed.copies.describe()}"
    return Published(indexed.live, recorded.removesuffix(end)) if recorded.endswith(end) else None


def begin_copy(indexed: Indexed, copies: WorkingCopy, empty: bool) -> None:
    """Begin the working copy, and note what it holds if it is begun now, and if that is known.

    Args:
        indexed: the model's part of the ledger.
        copies: its collection and working copy.
        empty: as of :meth:`WorkingCopy.begin`.
    """
    is_begun = indexed.server is not None or copies.has_begun()
    published = None if is_begun else find_published(indexed)
    copies.begin(empty)
    if is_begun:
        return
    try:
        if empty or not copies.has_live():
            indexed.contents.ids = set()
        elif published is not None and published.has_matrix:  # without one, only the first record of a text is there
            indexed.contents.ids = published.records()
    except (OSError, sqlite3.Error, ValueError):
        indexed.contents.ids = None


def _verified(indexed: Indexed) -> str:
    return f"verified {indexed.live.name}"
