"""What can be said of a source's documents only once all are read: where links lead, which language each is in."""

from __future__ import annotations

from kbjobs.content.language import is_wanted
from kbjobs.context import Context
from kbjobs.scanning.document_links import resolve_links
from kbjobs.scanning.enumeration import Enumerated
from kbjobs.scanning.source_languages import finalize_languages
from kbjobs.store import metadata as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import Source
from kbjobs.system.crashpoints import crash_point


def finalize(context: Context, source: Source, ledger: Ledger, found: Enumerated, wanted: list[str] | None) -> int:
    """Resolve links, finalize languages, mark what a language filter leaves out; returns how many documents that are.

    Args:
        context: the request to stop.
        source: the source.
        ledger: its ledger.
        found: its files.
        wanted: the languages of the filter, None for all.
    """
    if not store.is_finalized(ledger):
        resolve_links(context, source, ledger, found)
        crash_point("metadata.linked")
        finalize_languages(ledger, context.check)
        store.note_finalized(ledger)
        crash_point("metadata.settled")
    filtered = store.mark_filtered(ledger, lambda tag: wanted is None or is_wanted(tag, wanted))
    crash_point("metadata.marked")
    return filtered
