"""The stores that a source was uploaded to, as its ledger remembers them."""

from __future__ import annotations

import json

from kbjobs.store.ledger import Ledger

_UPLOADED = "uploaded to"


def note_store(ledger: Ledger, address: str) -> None:
    """Remember a store."""
    noted = noted_stores(ledger)
    if address not in noted:
        ledger.set_fact(_UPLOADED, json.dumps([*noted, address]))


def noted_stores(ledger: Ledger) -> list[str]:
    """The addresses of the stores."""
    return [str(address) for address in json.loads(ledger.fact(_UPLOADED) or "[]")]
