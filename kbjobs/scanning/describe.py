"""Bringing the metadata of a source's documents into its ledger."""

from __future__ import annotations

from kbjobs.content.language import count_as_one, parse_filter
from kbjobs.context import Context, PhaseResult
from kbjobs.formatting import counted
from kbjobs.scanning.changes import Comparison, Options, ScanScope, SourceChanges
from kbjobs.scanning.describing import described, metadata_state
from kbjobs.scanning.enumeration import Scan, enumerate_source
from kbjobs.scanning.finalization import finalize
from kbjobs.scanning.scan import name_pipeline, paid_profiles
from kbjobs.scanning.word_index import publish_words
from kbjobs.store import metadata as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.metadata import KnownMetadata
from kbjobs.system.crashpoints import crash_point

READ, SETTLE = (0.0, 0.9), (0.9, 1.0)


def describe_source(context: Context, language_filter: str | None, force: bool, allow_delete: bool) -> PhaseResult:
    """Read the metadata of what changed, remove what vanished, resolve links, mark what the filter leaves out."""
    source = context.source.read()
    wanted = parse_filter(language_filter) if language_filter is not None else None
    ledger = Ledger(context.source.ledger)
    try:
        known = store.known_metadata(ledger)
        scan = Scan()
        found = enumerate_source(context, source, known, scan, None, allow_delete)
        pipeline = name_pipeline(source)
        state = metadata_state(pipeline)

        def is_current(doc_id: str, signature: str) -> bool:
            seen = known.get(doc_id)
            return seen is not None and (seen.state, seen.signature) == (state, signature)

        def report(done: int, total: int) -> None:
            context.progress(done, total, "documents", "reading metadata", READ)

        options = Options(f"metadata {state}", describes=True, scope=ScanScope(force, allow_delete=allow_delete))
        changes = SourceChanges(context, found, Comparison(known, is_current), scan, ledger, options, report)
        read = _write_changes(context, ledger, known, changes, scan, pipeline, state)
        if scan.vanished:
            context.log.info("removing %d documents that are gone", len(scan.vanished))
            store.forget_finalized(ledger)
            ledger.delete_documents(scan.vanished)
            crash_point("documents.deleted")
        changes.remember()
        context.progress(0, 1, "documents", "resolving links, settling languages", SETTLE, eta_matters=False)
        filtered = finalize(context, source, ledger, found, wanted)
        publish_words(context.source, ledger)
        links = store.count_links(ledger)
        documents = ledger.count_documents() + filtered
        languages = count_as_one(store.count_languages(ledger))
        counts = {
            "documents": documents,
            "new": scan.new,
            "changed": scan.changed,
            "unchanged": scan.unchanged,
            "removed": len(scan.vanished),
            "filtered": filtered,
            "failed": len(scan.failed),
            "skipped": len(scan.skipped),
            "read": read,
            "languages": languages,
            "headings": store.count_headings(ledger),
            "links": links.resolved + links.unresolved,
            "unresolved": links.unresolved,
        }
    finally:
        ledger.close()
    for path, reason in scan.failed:
        context.log.warning("not read: %s: %s", path, reason)
    for path, reason in scan.skipped:
        context.log.info("skipped: %s: %s", path, reason)
    summary = (
        f"{counted(documents, 'document')} ({scan.new} new, {scan.changed} changed, {len(scan.vanished)} removed),"
        f" {_name_languages(languages)}"
    )
    if wanted is not None:
        summary += f"; {filtered:,} left out by the language filter"
    if scan.failed:
        summary += f"; {len(scan.failed):,} could not be read (see the log){scan.format_other_files()}"
    summary += scan.format_skipped()
    return PhaseResult(counts, summary, len(scan.failed))


def _write_changes(
    context: Context,
    ledger: Ledger,
    known: dict[str, KnownMetadata],
    changes: SourceChanges,
    scan: Scan,
    pipeline: str,
    state: str,
) -> int:
    """Read what is new or may have changed, commit it batch by batch; returns how many documents were read."""
    read = 0
    paid = paid_profiles(ledger)
    for documents in changes.batches():
        if not read:
            store.forget_finalized(ledger)
        store.put_metadata(ledger, pipeline, state, described(documents), paid)
        crash_point("metadata.committed")
        read += len(documents)
        saved = 0
        for document in (one.document for one in documents):
            before = known.get(document.doc_id)
            scan.count(before.content_hash if before else None, document.content_hash)
            # Only what the ledger did not hold is progress: a page read again is not.
            saved += before is None or before.content_hash != document.content_hash or before.state != state
        context.saved(saved)
    return read


def _name_languages(languages: dict[str, int]) -> str:
    shown = [f"{count} {language}" for language, count in list(languages.items())[:4]]
    rest = sum(list(languages.values())[4:])
    return "languages: " + ", ".join([*shown, f"{rest} other"] if rest else shown)
