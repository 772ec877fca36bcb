"""The Pinecone namespace that a source was last sent to, as its ledger records it for searches."""

from __future__ import annotations

import logging

from kbjobs.store.ledger import Ledger
from kbjobs.vectors.pinecone_target import PineconeTarget

_PLACE = "pinecone"

log = logging.getLogger(__name__)


def note_place(ledger: Ledger, target: PineconeTarget) -> None:
    """Record where the records are from now on, and log earlier ones that are left elsewhere."""
    recorded = ledger.fact(_PLACE)
    if recorded == str(target):
        return
    if recorded is not None:
        log.warning("the earlier records, in Pinecone's %s, are left there", recorded)
    ledger.set_fact(_PLACE, str(target))


def last_target(ledger: Ledger) -> tuple[str, str] | None:
    """The index and namespace that the source was last sent to; None if it was never sent."""
    name, _, namespace = (ledger.fact(_PLACE) or "").partition("/")
    return (name, namespace) if namespace else None


def last_namespace(ledger: Ledger, index: str) -> str | None:
    """The namespace that the source was last sent to, if it is in this index; otherwise None."""
    name, _, namespace = (ledger.fact(_PLACE) or "").partition("/")
    return namespace if name == index and namespace else None
