"""The documents of a source, and what did not become one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kbjobs.config.home import Home
from kbjobs.scanning.enumeration import read_left_out
from kbjobs.store.frontier import Frontier
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_copy import open_ledger
from kbjobs.store.metadata import list_documents
from kbjobs.store.sources import SourceFolder

MAX_LEFT_OUT = 10_000  # addresses of a scrape


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An address or a file that became no document, and why; ``is_failure``: it was to become one."""

    is_failure: bool
    place: str
    reason: str


def documents(home: Home, source_id: str) -> Iterator[dict[str, Any]]:
    """What is known of each document of a source, by path; nothing of a source that no job has read yet."""
    folder = SourceFolder(home.sources, source_id)
    folder.read()
    if not folder.ledger.exists():
        return
    with open_ledger(folder.ledger) as ledger:
        yield from list_documents(ledger)


def list_left_out(home: Home, source_id: str) -> list[LeftOut]:
    """What of a source became no document, and why: addresses of its scrape, files, entries of archives."""
    folder = SourceFolder(home.sources, source_id)
    folder.read()
    found: list[tuple[str, str, str]] = []
    if folder.frontier.exists():
        with Frontier(folder.frontier) as frontier:
            found += frontier.left_out(MAX_LEFT_OUT)
    if folder.ledger.exists():
        with Ledger(folder.ledger) as ledger:
            found += read_left_out(ledger)
    return [LeftOut(state == "failed", place, reason) for state, place, reason in found]
