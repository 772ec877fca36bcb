"""Advice that several job types give on the state of a source. Light: it opens the ledger and reads one row."""

from __future__ import annotations

from collections.abc import Sequence

from kbjobs.errors import KbjobsError
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder


def has_metadata(source: SourceFolder, earlier: Sequence[str] = ()) -> bool:
    """Whether the source's metadata was read, or will have been by the types that run ``earlier`` in the chain."""
    if "metadata" in earlier:
        return True
    if not source.ledger.exists():
        return False
    ledger = Ledger(source.ledger)
    try:
        return ledger.has_metadata()
    finally:
        ledger.close()


def advise_metadata(source: SourceFolder, earlier: Sequence[str]) -> list[str]:
    """What an index type says of a source without metadata."""
    try:
        if has_metadata(source, earlier):
            return []
    except KbjobsError:  # a ledger that cannot be read is for the job itself to report
        return []
    return [f"source {source.id!r} has no metadata: add metadata first"]
