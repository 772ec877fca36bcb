"""The upload targets of a source, which its ledger records; a folder in the home is stored relative to the home."""

from __future__ import annotations

import json
from pathlib import Path

from kbjobs.store.ledger import Ledger

_UPLOADED = "uploaded to"


def note_store(ledger: Ledger, address: str, home: Path) -> None:
    """Record that a source was uploaded to a store.

    Args:
        ledger: the source's ledger.
        address: the store's address, or the path of its folder.
        home: the path of the home.
    """
    told = str(Path(address).relative_to(home)) if _is_in(address, home) else address
    noted = _read(ledger)
    if told not in noted:
        ledger.set_fact(_UPLOADED, json.dumps([*noted, told]))


def upload_targets(ledger: Ledger, home: Path) -> list[str]:
    """The addresses of the stores, with folders in the home as absolute paths."""
    return [told if "://" in told or told.startswith("/") else str(home / told) for told in _read(ledger)]


def _read(ledger: Ledger) -> list[str]:
    return [str(told) for told in json.loads(ledger.fact(_UPLOADED) or "[]")]


def _is_in(address: str, home: Path) -> bool:
    return "://" not in address and Path(address).is_relative_to(home)
