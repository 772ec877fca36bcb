"""Reading the metadata of a source's documents into its ledger."""

from __future__ import annotations

from functools import partial
from typing import Any

from kbjobs.content.language import count_as_one
from kbjobs.context import Context, PhaseResult
from kbjobs.formatting import counted
from kbjobs.scanning.changes import Comparison, Options, ScanScope, SourceChanges
from kbjobs.scanning.describing import Describing
from kbjobs.scanning.enumeration import Scan, enumerate_source
from kbjobs.scanning.scan import name_pipeline, paid_profiles
from kbjobs.scanning.word_index import publish_words
from kbjobs.store import metadata as store
from kbjobs.store.ledger import Ledger
from kbjobs.system.crashpoints import crash_point

READ, SETTLE = (0.0, 0.9), (0.9, 1.0)


def describe_source(context: Context, language_filter: str | None, force: bool, allow_delete: bool) -> PhaseResult:
    """Bring the metadata of a source's documents up to date in its ledger.

    Reads changed documents, removes vanished ones, resolves links, and marks those that the language filter leaves out.

    Args:
        context: the phase's context.
        language_filter: the languages whose documents are kept, such as ``en,fr``; None keeps all.
        force: whether to read every document again.
        allow_delete: whether any number of documents may be removed.

    Raises:
        UsageError: the source never had any documents, or the filter names no language.
        TooManyRemovedError: a large share of the documents has vanished, without ``allow_delete``.
        JobCancelled: the job was asked to stop.
    """
    source, describing = context.source.read(), Describing(language_filter)
    with Ledger(context.source.ledger) as ledger:
        pipeline = name_pipeline(source, context.settings)
        describing.begin(ledger, pipeline)
        found = enumerate_source(context, source, describing.known, None, allow_delete)
        options = Options(
            f"metadata {describing.state}", describes=True, scope=ScanScope(force, allow_delete=allow_delete)
        )
        comparison = Comparison(describing.known, describing.is_current)
        changes = SourceChanges(context, found, comparison, ledger, options, partial(_report, context))
        read = _write_changes(context, ledger, describing, changes, pipeline)
        if found.scan.vanished:
            context.log.info("removing %d documents that are gone", len(found.scan.vanished))
            store.forget_finalized(ledger)
            ledger.delete_documents(found.scan.vanished)
            crash_point("documents.deleted")
        changes.remember()
        context.progress(0, 1, "documents", "resolving links and languages", SETTLE, eta_matters=False)
        filtered = describing.finish(context, ledger, found)
        publish_words(context.source, ledger)
        counts = _count(ledger, found.scan, filtered, read)
    found.scan.log(context.log, "not read")
    return PhaseResult(counts, _summarise(counts, found.scan, describing.wanted is not None), len(found.scan.failed))


def _report(context: Context, done: int, total: int) -> None:
    context.progress(done, total, "documents", "reading metadata", READ)


def _write_changes(
    context: Context, ledger: Ledger, describing: Describing, changes: SourceChanges, pipeline: str
) -> int:
    """Read new and possibly changed documents, and commit them batch by batch; returns how many were read."""
    read = 0
    paid = paid_profiles(ledger)
    for documents in changes.batches():
        describing.write(ledger, pipeline, documents, paid)
        read += len(documents)
        saved = 0
        for document in (one.document for one in documents):
            before = describing.known.get(document.doc_id)
            changes.found.scan.count(before.content_hash if before else None, document.content_hash)
            # Only documents that are new to the ledger count as saved progress, not pages that were read again.
            saved += before is None or (before.content_hash, before.state) != (document.content_hash, describing.state)
        context.saved(saved)
    return read


def _count(ledger: Ledger, scan: Scan, filtered: int, read: int) -> dict[str, Any]:
    links = store.count_links(ledger)
    return {
        "documents": ledger.count_documents() + filtered,
        "new": scan.new,
        "changed": scan.changed,
        "unchanged": scan.unchanged,
        "removed": len(scan.vanished),
        "filtered": filtered,
        "failed": len(scan.failed),
        "skipped": len(scan.skipped),
        "read": read,
        "languages": count_as_one(store.count_languages(ledger)),
        "headings": store.count_headings(ledger),
        "links": links.resolved + links.unresolved,
        "unresolved": links.unresolved,
    }


def _summarise(counts: dict[str, Any], scan: Scan, has_filter: bool) -> str:
    text = (
        f"{counted(counts['documents'], 'document')} ({scan.new} new, {scan.changed} changed,"
        f" {len(scan.vanished)} removed), {_name_languages(counts['languages'])}"
    )
    text += f"; {counts['filtered']:,} left out by the language filter" if has_filter else ""
    text += f"; {len(scan.failed):,} could not be read (see the log){scan.format_other_files()}" if scan.failed else ""
    return text + scan.format_skipped()


def _name_languages(languages: dict[str, int]) -> str:
    shown = [f"{count} {language}" for language, count in list(languages.items())[:4]]
    rest = sum(list(languages.values())[4:])
    return "languages: " + ", ".join([*shown, f"{rest} other"] if rest else shown)
