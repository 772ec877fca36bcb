"""Scanning a source's documents into its ledger: enumerate, compare, and read and cut only changed ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kbjobs.config.settings import Settings
from kbjobs.content.chunking import Chunker
from kbjobs.content.document import EXTRACTION_VERSION, READING_VERSION
from kbjobs.context import Context
from kbjobs.embedding.online_models import find_online
from kbjobs.scanning.changes import Comparison, Options, ScanScope, SourceChanges
from kbjobs.scanning.describing import Describing
from kbjobs.scanning.enumeration import FactStore, enumerate_source
from kbjobs.scanning.file_reading import Read, keeps_comments
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import ChunkLike, DocumentLike, KnownDocument, StoredChunk
from kbjobs.store.sources import Source
from kbjobs.system.crashpoints import crash_point


class DocumentStore(FactStore, Protocol):
    """The ledger that a scan compares with and writes to, or its stand-in for a forecast, which writes nothing."""

    def known_documents(self, profile: int) -> dict[str, KnownDocument]:
        """As :meth:`kbjobs.store.ledger.Ledger.known_documents`."""
        ...

    def chunks_of(self, profile: int, doc_id: str) -> list[StoredChunk]:
        """As :meth:`kbjobs.store.ledger.Ledger.chunks_of`."""
        ...

    def put_documents(
        self,
        profile: int,
        pipeline: str,
        batch: Iterable[tuple[DocumentLike, str, Sequence[ChunkLike]]],
        paid: Collection[int] = (),
    ) -> None:
        """Write documents with their chunks.

        Args:
            profile: the profile that the chunks were cut for.
            pipeline: the version and settings that read them (see :func:`name_pipeline`).
            batch: each document with the signature of its file, and its chunks.
            paid: the profiles with paid vectors, whose passages stay until they are embedded again.
        """
        ...


@dataclass(frozen=True, slots=True)
class Cutting:
    """How documents are cut into passages: the chunker, and the profile in the ledger.

    With ``keeps_cut``, a document with the same text as before keeps its passages. ``on_change`` is called as soon as a
    document is new or has changed.
    """

    profile: int
    chunker: Chunker
    keeps_cut: bool = False
    on_change: Callable[[], None] = lambda: None


def scan_source(
    context: Context,
    ledger: DocumentStore,
    cutting: Cutting,
    span: tuple[float, float],
    scope: ScanScope,
    describing: Describing | None = None,
) -> SourceChanges:
    """Write the source's new and changed documents with their chunks to the ledger; list vanished ones, remove none.

    Args:
        context: the phase's context, with the source.
        ledger: the source's ledger, or its stand-in for a forecast.
        cutting: how documents are cut into chunks.
        span: the part of the phase that this takes, such as (0.0, 0.5) for its first half.
        scope: how much of the source to read.
        describing: writes the documents' metadata too, and needs a real ledger; None writes no metadata.

    Returns:
        The changes; call ``remember`` on them after the vanished documents are removed.

    Raises:
        UsageError: the source never had any documents.
        TooManyRemovedError: a large share of the documents has vanished.
        JobCancelled: the job was asked to stop.
    """
    source, profile = context.source.read(), cutting.profile
    pipeline, known = name_pipeline(source, context.settings), ledger.known_documents(profile)
    found = enumerate_source(context, source, known, scope.limit, scope.allow_delete)
    if describing is not None:
        assert isinstance(ledger, Ledger)  # noqa: S101 — a forecast reads no metadata
        describing.begin(ledger, pipeline)

    def is_current(doc_id: str, signature: str) -> bool:
        seen = known.get(doc_id)
        if describing is not None and not describing.is_current(doc_id, signature):
            return False
        return seen is not None and seen.is_chunked and seen.pipeline == pipeline and seen.signature == signature

    def report(done: int, total: int) -> None:
        context.progress(done, total, "documents", "reading documents", span, eta_matters=False)

    purpose = f"profile-{profile}{'-described' if describing else ''} {pipeline}"
    options = Options(purpose, describing is not None, keeps_text=True, scope=scope)
    paid = paid_profiles(ledger) if isinstance(ledger, Ledger) else frozenset()
    changes = SourceChanges(context, found, Comparison(known, is_current), ledger, options, report)
    for documents in changes.batches():
        if any(_has_changed(known.get(one.document.doc_id), one) for one in documents):
            cutting.on_change()
        rows = _cut(ledger, cutting, known, documents)
        if describing is not None and isinstance(ledger, Ledger):
            describing.write(ledger, pipeline, documents, paid)
        ledger.put_documents(profile, pipeline, rows, paid)
        crash_point("scan.committed")
        # Only documents that are new to the ledger count as saved progress, not a page read again after a death.
        context.saved(sum(not _is_known(known.get(document.doc_id), document, pipeline) for document, _, _ in rows))
        for document, _, _ in rows:
            before = known.get(document.doc_id)
            found.scan.count(before.content_hash if before else None, document.content_hash)
    found.scan.log(context.log, "not indexed")
    return changes


def _has_changed(before: KnownDocument | None, read: Read) -> bool:
    return before is None or before.content_hash != read.document.content_hash


def _cut(
    ledger: DocumentStore, cutting: Cutting, known: Mapping[str, KnownDocument], documents: Sequence[Read]
) -> list[tuple[DocumentLike, str, Sequence[ChunkLike]]]:
    """Return each document with the signature of its file, and its chunks.

    With ``keeps_cut``, a page keeps its chunks if its text is unchanged, or if only a newer reader changed it.
    """
    kept = {
        one.document.doc_id: ledger.chunks_of(cutting.profile, one.document.doc_id)
        for one in documents
        if cutting.keeps_cut and _stays(known.get(one.document.doc_id), one)
    }
    cut = cutting.chunker.chunk_many([one.document for one in documents if one.document.doc_id not in kept])
    return [
        (one.document, one.signature, kept[one.document.doc_id] if one.document.doc_id in kept else next(cut))
        for one in documents
    ]


def name_pipeline(source: Source, settings: Settings) -> str:
    """Name the versions and settings that a document's text and URL depend on; if they change, files are read again.

    Without a base URL, a document's URL is the place of its file, which changes if the home or the folder is moved.
    """
    version = f"{EXTRACTION_VERSION}.{READING_VERSION}{'+comments' if keeps_comments(settings) else ''}"
    if source.base_url:
        return f"{version} {source.base_url}"
    places = "\0".join(os.path.realpath(path) for path in source.paths)
    return f"{version} {hashlib.sha256(os.fsencode(places)).hexdigest()[:16]}"


def paid_profiles(ledger: Ledger) -> frozenset[int]:
    """The profiles of a source's online models, whose vectors were paid for."""
    return frozenset(row.profile for row in ledger.models() if find_online(row.name))


def _stays(before: KnownDocument | None, now: Read) -> bool:
    if before is None or not before.is_chunked:
        return False
    return before.content_hash == now.document.content_hash or before.signature == now.signature != ""


def _is_known(before: KnownDocument | None, document: DocumentLike, pipeline: str) -> bool:
    return (
        before is not None
        and before.is_chunked
        and before.pipeline == pipeline
        and before.content_hash == document.content_hash
    )
