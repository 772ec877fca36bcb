"""Which namespace of Pinecone a source was last sent to, as its ledger remembers it: a search looks there."""

from __future__ import annotations

import logging

from kbjobs.store.ledger import Ledger
from kbjobs.vectors.pinecone_target import PineconeTarget

_PLACE = "pinecone"

log = logging.getLogger(__name__)


def note_place(ledger: Ledger, target: PineconeTarget) -> None:
    """Remember where the records are from now on; the log tells of those that are left elsewhere."""
    recorded = ledger.fact(_PLACE)
    if recorded == str(target):
        return
    if recorded is not None:
        log.warning("the earlier records, in Pinecone's %s, are left there", recorded)
    ledger.set_fact(_PLACE, str(target))


def last_target(ledger: Ledger) -> tuple[str, str] | None:
    """The index and the namespace that the source was last sent to; None if it never was."""
    name, _, namespace = (ledger.fact(_PLACE) or "").partition("/")
    return (name, namespace) if namespace else None


def last_namespace(ledger: Ledger, index: str) -> str | None:
    """The namespace of the index that the source was last sent to; None if it never was."""
    name, _, namespace = (ledger.fact(_PLACE) or "").partition("/")
    return namespace if name == index and namespace else None
