"""The steps that need all documents of a source: finding the targets of links, and each document's language."""

from __future__ import annotations

from kbjobs.content.language import is_wanted
from kbjobs.context import Context
from kbjobs.scanning.document_links import resolve_links
from kbjobs.scanning.enumeration import Enumerated
from kbjobs.scanning.source_languages import finalize_languages
from kbjobs.store import metadata as store
from kbjobs.store.ledger import Ledger
from kbjobs.system.crashpoints import crash_point


def finalize(context: Context, ledger: Ledger, found: Enumerated, wanted: list[str] | None) -> int:
    """Resolve links, decide languages, and mark the documents that the language filter leaves out.

    Args:
        context: the phase's context.
        ledger: the source's ledger.
        found: the source's files.
        wanted: the languages of the filter; None keeps all.

    Returns:
        The number of documents left out.

    Raises:
        JobCancelled: the job was asked to stop.
    """
    if not store.is_finalized(ledger):
        resolve_links(context, ledger, found)
        crash_point("metadata.linked")
        finalize_languages(ledger, context.check)
        store.note_finalized(ledger)
        crash_point("metadata.settled")
    filtered = store.mark_filtered(ledger, lambda tag: wanted is None or is_wanted(tag, wanted))
    crash_point("metadata.marked")
    return filtered
