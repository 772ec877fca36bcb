"""Bringing a source's files into its ledger: enumerate, compare, read and cut only what changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kbjobs.content.chunking import Chunker
from kbjobs.content.document import EXTRACTION_VERSION, READING_VERSION, Document, UnreadableDocument, document_id
from kbjobs.content.files import FileSearch, FoundFile, SkippedFile, find_files
from kbjobs.content.reading import read_document
from kbjobs.context import Context
from kbjobs.crashpoints import crash_point
from kbjobs.errors import KbjobsError, UsageError
from kbjobs.store.ledger import ChunkLike, DocumentLike, KnownDocument
from kbjobs.store.sources import Source
from kbjobs.wording import counted

MAX_REMOVED = 0.20  # share of a source's documents that a run may remove unasked
READ_BATCH = 32  # documents read, cut and committed together
# A file written within this time of its look at may be written again within the clock's grain, with the same
# size and times; its signature is not trusted. Two seconds is the coarsest grain in use (FAT).
SETTLED_NS = 2_000_000_000


@dataclass(slots=True)
class Scan:
    """What a scan found. ``failed`` are documents that could not be read, as (path, reason)."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)

    def tell_skipped(self) -> str:
        """For a summary: how many files were passed over (links, pipes), or nothing."""
        return f"; {counted(len(self.skipped), 'file')} skipped: links, pipes (see the log)" if self.skipped else ""

    def count(self, before: str | None, now: str) -> None:
        """Count a document that was read, by the hash of its content before (None for a new one) and now."""
        if before is None:
            self.new += 1
        elif before != now:
            self.changed += 1
        else:
            self.unchanged += 1


class DocumentStore(Protocol):
    """What a scan compares with and writes to: a ledger, or what stands in for one where nothing is to be written."""

    def known_documents(self, profile: int) -> dict[str, KnownDocument]:
        """As the ledger's."""
        ...

    def put_documents(
        self, profile: int, pipeline: str, batch: Iterable[tuple[DocumentLike, str, Sequence[ChunkLike]]]
    ) -> None:
        """As the ledger's."""
        ...


class TooManyRemovedError(KbjobsError):
    """A run would remove more of a source than can be meant: an unmounted disk looks like this."""


def scan_source(
    context: Context,
    source: Source,
    ledger: DocumentStore,
    profile: int,
    chunker: Chunker,
    span: tuple[float, float],
    reread: bool = False,
    limit: int | None = None,
    allow_delete: bool = False,
) -> Scan:
    """Write new and changed documents with their chunks to the ledger; name the vanished ones, remove none."""
    pipeline = name_pipeline(source)
    known = ledger.known_documents(profile)
    scan = Scan()
    files = enumerate_source(context, source, known, scan, limit, allow_delete)
    changed: list[FoundFile] = []
    for file in files:
        seen = known.get(document_id(source.id, file.key))
        if (
            not reread
            and seen is not None
            and seen.is_chunked
            and seen.pipeline == pipeline
            and seen.signature == file.signature
        ):
            scan.unchanged += 1
        else:
            changed.append(file)
    done = scan.unchanged
    for start in range(0, len(changed), READ_BATCH):
        context.progress(done, len(files), "documents", "reading documents", span, eta_matters=False)
        batch = changed[start : start + READ_BATCH]
        documents = list(read_files(context, source, batch, scan))
        chunks = chunker.chunk_many([document for document, _ in documents])
        rows = [(document, signature, cut) for (document, signature), cut in zip(documents, chunks, strict=True)]
        ledger.put_documents(profile, pipeline, rows)
        crash_point("scan.committed")
        # Only what the ledger did not hold is progress: a page read again is not, however often a worker dies after it.
        context.saved(sum(not _is_known(known.get(document.doc_id), document, pipeline) for document, _ in documents))
        for document, _ in documents:
            before = known.get(document.doc_id)
            scan.count(before.content_hash if before else None, document.content_hash)
        done += len(batch)
    context.progress(done, len(files), "documents", "reading documents", span, eta_matters=False)
    for path, reason in scan.failed:
        context.log.warning("not indexed: %s: %s", path, reason)
    for path, reason in scan.skipped:
        context.log.info("skipped: %s: %s", path, reason)
    return scan


def name_pipeline(source: Source) -> str:
    """What the text and the URL of a document depend on beside its file; where it differs, the file is read again.

    Without a base URL a document's URL is the place of its file, which changes when home or folder is moved.
    """
    version = f"{EXTRACTION_VERSION}.{READING_VERSION}"
    if source.base_url:
        return f"{version} {source.base_url}"
    places = "\0".join(os.path.realpath(path) for path in source.paths)
    return f"{version} {hashlib.sha256(os.fsencode(places)).hexdigest()[:16]}"


def enumerate_source(
    context: Context,
    source: Source,
    known: Collection[str],
    scan: Scan,
    limit: int | None,
    allow_delete: bool,
) -> list[FoundFile]:
    """The source's files, in order. ``scan`` is told what cannot be read and which of the known ids have vanished.

    Raises UsageError where there never was anything, TooManyRemovedError where too much is gone.
    """
    search: FileSearch = find_files([Path(path) for path in source.paths])
    files: list[FoundFile] = []
    seen: set[str] = set()
    has_one_base = bool(source.base_url) and len(source.paths) > 1
    places: dict[str, str] = {}  # below the base URL: key of the file
    for entry in search:
        if isinstance(entry, SkippedFile):
            if entry.still_there:
                scan.failed.append((entry.key, entry.reason))
                seen.add(document_id(source.id, entry.key))
            else:
                scan.skipped.append((entry.key, entry.reason))
        elif has_one_base and (other := places.setdefault(entry.relative, entry.key)) != entry.key:
            scan.failed.append((entry.key, f"its URL would be that of {other}"))
            seen.add(document_id(source.id, entry.key))
        else:
            files.append(entry)
            seen.add(document_id(source.id, entry.key))
        if len(seen) % 1000 == 0:
            context.check()
    if not files and not known:
        detail = f"; {counted(search.ignored, 'file')} of other types" if search.ignored else ""
        detail += f"; {len(scan.failed)} could not be opened ({scan.failed[0][1]})" if scan.failed else ""
        raise UsageError(
            f"source {source.id!r} has no readable .html, .txt or .md file in {', '.join(source.paths)}{detail}",
            "Check the folder, or add the source again with another one.",
        )
    if limit is not None:
        return files[:limit]
    vanished = [doc_id for doc_id in known if doc_id not in seen]
    if vanished and not search.complete:
        context.log.warning(
            "%d documents were not seen, but neither was every folder: nothing is removed", len(vanished)
        )
    elif len(vanished) > MAX_REMOVED * len(known) and not allow_delete:
        raise TooManyRemovedError(
            f"{len(vanished):,} of the {counted(len(known), 'document')} of {source.id!r} are gone, more than"
            f" {MAX_REMOVED:.0%}; nothing was changed",
            "Mount the disk or restore the files; if they are meant to go, run it again with --allow-delete.",
        )
    else:
        scan.vanished = vanished
    return files


def _is_known(before: KnownDocument | None, document: Document, pipeline: str) -> bool:
    return (
        before is not None
        and before.is_chunked
        and before.pipeline == pipeline
        and before.content_hash == document.content_hash
    )


def read_files(
    context: Context, source: Source, files: Sequence[FoundFile], scan: Scan
) -> Iterator[tuple[Document, str]]:
    """The documents of files with their signatures; ``scan`` is told of those that cannot be read."""
    for file in files:
        context.check()
        settled = time.time_ns() - SETTLED_NS > file.mtime_ns
        try:
            yield read_document(file, source.id, source.base_url), file.signature if settled else ""
        except UnreadableDocument as error:
            scan.failed.append((error.key, error.reason))
