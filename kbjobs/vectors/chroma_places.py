"""The server where a model's collection was last published, as the ledger records it, and the collection's name there.

The ledger records it because the settings may have changed by the time the collection is cleared or deleted.
"""

from __future__ import annotations

import json
import logging
import secrets

from kbjobs.store.ledger import Ledger

OWNER = "kbjobs_owner"
"""The key in a collection's metadata that names the ledger it copies; also the name of the ledger's fact for it."""
_PLACE = "on a server "

log = logging.getLogger(__name__)


def owner_of(ledger: Ledger) -> str:
    """The random name of a ledger that marks its collections. It survives moving and restoring the home."""
    known = ledger.fact(OWNER)
    if known is None:
        known = secrets.token_hex(16)
        ledger.set_fact(OWNER, known)
    return known


def place_of(ledger: Ledger, key: str) -> tuple[str, str] | None:
    """The address and prefix of the server where a model's collection was last published; None if there is none."""
    recorded = ledger.fact(_PLACE + key)
    if recorded is None:
        return None
    place = json.loads(recorded)
    return place["url"], place["prefix"]


def list_places(ledger: Ledger) -> list[tuple[str, str, str]]:
    """Key, server address and prefix of each model whose collection was published on a server."""
    return [(row.key, *place) for row in ledger.models() if (place := place_of(ledger, row.key)) is not None]


def name_collection(prefix: str, source_id: str, key: str) -> str:
    """Name a collection on a server.

    Args:
        prefix: the prefix of this home's collections.
        source_id: the source's id.
        key: the model's key.
    """
    return f"{prefix}-{source_id}-{key}"


def name_store(ledger: Ledger, key: str) -> str:
    """The address of the server where a model's collection was last published; '' if it is in the home."""
    return (place_of(ledger, key) or ("", ""))[0]


def note_place(ledger: Ledger, key: str, url: str, prefix: str, source_id: str) -> None:
    """Record where a collection is published now, and log a copy that stays elsewhere.

    Args:
        ledger: the source's ledger.
        key: the model's key.
        url: the server's address.
        prefix: the prefix of this home's collections.
        source_id: the source's id.
    """
    recorded = place_of(ledger, key)
    if recorded == (url, prefix):
        return
    if recorded is not None:
        _report_left(source_id, key, recorded)
    ledger.set_fact(_PLACE + key, json.dumps({"url": url, "prefix": prefix}))


def forget_place(ledger: Ledger, key: str, source_id: str = "") -> None:
    """Record that a collection is on no server.

    Args:
        ledger: the source's ledger.
        key: the model's key.
        source_id: the source's id, to log that a copy stays on the server; '' to log nothing.
    """
    recorded = place_of(ledger, key)
    if recorded is not None and source_id:
        _report_left(source_id, key, recorded)
    if recorded is not None:
        ledger.set_fact(_PLACE + key, None)


def _report_left(source_id: str, key: str, place: tuple[str, str]) -> None:
    url, prefix = place
    log.warning("the earlier collection, %s on %s, is left there", name_collection(prefix, source_id, key), url)
