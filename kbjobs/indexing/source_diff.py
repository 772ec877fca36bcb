"""What an index job would embed of a source: counted exactly, or judged by a sample. Nothing is written."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.content.chunking import Chunker
from kbjobs.content.tokens import TokenCounter
from kbjobs.context import Context
from kbjobs.formatting import counted
from kbjobs.indexing.cutting import IndexOptions, choose_profile
from kbjobs.scanning.changes import Comparison, Options, SourceChanges
from kbjobs.scanning.enumeration import Enumerated, Scan, enumerate_source
from kbjobs.scanning.scan import Cutting, name_pipeline, scan_source
from kbjobs.store.api_batches import texts_out
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import ChunkLike, DocumentLike, KnownDocument, StoredChunk
from kbjobs.store.sources import SourceFolder

SAMPLE = 300
"""Files read at most for a forecast, and entries read at most of each archive: one or two seconds."""

NO_PROFILE = 0
"""No profile of a ledger has this number."""


@dataclass(frozen=True, slots=True)
class TextModel:
    """The model that passages are cut for: its key in the ledger, its token counter, and its window in tokens."""

    key: str
    tokens: TokenCounter
    max_tokens: int


@dataclass(frozen=True, slots=True)
class SourceDiff:
    """What an index job would embed.

    ``passages`` in ``documents``, of which ``missing`` distinct texts with ``tokens`` tokens have no vector; ``out``
    more are in batches at an API. ``sampled``: how many documents were read to find this; ``is_exact``: whether these
    were all new and changed ones.
    """

    scan: Scan
    documents: int
    passages: int
    missing: int
    tokens: int
    out: int
    sampled: int
    is_exact: bool

    def format_sample(self) -> str:
        """Say for a note how many documents it was judged by; '' if all were read."""
        return "" if self.is_exact else f"; judged by {counted(self.sampled, 'document')}"


def diff_source(context: Context, model: TextModel, options: IndexOptions, sample: int | None = None) -> SourceDiff:
    """Find what an index run with the same arguments would embed.

    Args:
        context: the context of the job that asks; its progress is reported, nothing is saved.
        model: the model that the passages are embedded with.
        options: the options of the run.
        sample: the most files to read; None for all that are new or changed.

    Raises:
        KbjobsError: the source has no documents, or too many of them are gone; the job would fail with the same error.
    """
    path = context.source.ledger
    with Ledger(path) if path.exists() else nullcontext(None) as ledger:
        tally = _Tally()
        profile = NO_PROFILE
        if ledger is not None:
            chosen = choose_profile(ledger, model.key, model.tokens, model.max_tokens, options)
            profile = ledger.find_profile(chosen.name) or NO_PROFILE
            tally.have = set() if options.force else set(ledger.texts_with_vectors(model.key))
            tally.out = set(texts_out(ledger, model.key)) - tally.have
        store = _ReadOnly(ledger, profile, tally)
        chunker = Chunker(model.tokens, model.max_tokens)
        if sample is None:
            keeps_cut = options.keeps_cut and not options.recut and not options.force
            quiet = replace(context, reporter=_Unsaved(context))
            cutting = Cutting(profile, chunker, keeps_cut)
            scan = scan_source(quiet, store, cutting, (0.0, 1.0), options.scope).found.scan
            stays = store.known.keys() - tally.read
        else:
            scan, stays = _read_sample(context, store, chunker, options, sample)
        tally.documents += len(stays)
        for doc_id, text_hash, count in ledger.passages(profile) if ledger is not None and profile else ():
            if doc_id in stays:
                tally.add(text_hash, count)
    return tally.result(scan)


def forecast_source(
    home: Home, settings: Settings, folder: SourceFolder, model: TextModel, options: IndexOptions
) -> SourceDiff:
    """Forecast in seconds what an index run would embed, from a sample; see :func:`diff_source`.

    Args:
        home: the source's home.
        settings: the settings in force.
        folder: the source's folder.
        model: the model that the passages are embedded with.
        options: the options of the run.
    """
    log = logging.getLogger(__name__)
    log.setLevel(logging.ERROR)  # the job itself will warn
    return diff_source(Context(home, settings, folder, 0, _Quiet(), lambda: False, log), model, options, SAMPLE)


def _read_sample(
    context: Context, store: _ReadOnly, chunker: Chunker, options: IndexOptions, sample: int
) -> tuple[Scan, set[str]]:
    """Count the passages of a sample of new documents. Returns the scan, and the ids of documents that stay."""
    source, scope = context.source.read(), options.scope
    known = store.known_documents(store.profile)
    found = enumerate_source(context, source, known, scope.limit, scope.allow_delete)
    pipeline = name_pipeline(source, context.settings)
    stays: set[str] = set()

    def is_current(doc_id: str, signature: str) -> bool:
        seen = known.get(doc_id)
        if seen is None or not seen.is_chunked or (seen.pipeline, seen.signature) != (pipeline, signature):
            return False
        stays.add(doc_id)
        return True

    purpose = f"profile-{store.profile} {pipeline}"
    wanted = Options(purpose, keeps_text=True, scope=scope, sample=sample)
    changes = SourceChanges(context, found, Comparison(known, is_current), store, wanted, lambda done, total: None)
    for batch in changes.batches():
        documents = [one.document for one in batch]
        for document, chunks in zip(documents, chunker.chunk_many(documents), strict=True):
            store.tally.count(document.doc_id, chunks, changes.stands_for(document.path))
    return found.scan, set() if scope.reread else stays | _of_archives(found, known, pipeline)


def _of_archives(found: Enumerated, known: dict[str, KnownDocument], pipeline: str) -> set[str]:
    """Find the documents of unchanged archives, of which only a sample was read."""
    return {
        doc_id
        for archive in found.archives
        for doc_id, one in known.items()
        if one.is_chunked
        and one.pipeline == pipeline
        and one.path.startswith(f"{archive.key}/")
        and one.signature.startswith(archive.signature)
    }


@dataclass(slots=True)
class _Tally:
    """Counts what was seen, each item as often as what it represents; equal texts are embedded only once."""

    have: set[str] = field(default_factory=set)
    out: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    documents: float = 0.0
    passages: float = 0.0
    missing: float = 0.0
    tokens: float = 0.0
    in_batches: int = 0
    is_exact: bool = True

    def count(self, doc_id: str, chunks: Iterable[ChunkLike], share: float = 1.0) -> None:
        """Count a document that was read, with its passages."""
        self.is_exact = self.is_exact and share == 1
        self.documents += share
        self.read.add(doc_id)
        for chunk in chunks:
            self.add(chunk.text_hash, chunk.tokens, share)

    def add(self, text_hash: str, tokens: int, share: float = 1.0) -> None:
        """Count a passage."""
        self.passages += share
        if text_hash in self.have:
            return
        self.have.add(text_hash)
        if text_hash in self.out:
            self.in_batches += 1
            return
        self.missing += share
        self.tokens += share * tokens

    def result(self, scan: Scan) -> SourceDiff:
        """Round the counts to whole numbers."""
        return SourceDiff(
            scan,
            round(self.documents),
            round(self.passages),
            round(self.missing),
            round(self.tokens),
            self.in_batches,
            len(self.read),
            self.is_exact,
        )


class _ReadOnly:
    """Stands in for the ledger in a scan, and only counts what would be written."""

    def __init__(self, ledger: Ledger | None, profile: int, tally: _Tally) -> None:
        self._ledger = ledger
        self.profile, self.tally = profile, tally
        self.known: dict[str, KnownDocument] = {}

    def known_documents(self, profile: int) -> dict[str, KnownDocument]:
        """Return the ledger's known documents; none if there is no ledger."""
        self.known = self._ledger.known_documents(profile) if self._ledger is not None else {}
        return self.known

    def chunks_of(self, profile: int, doc_id: str) -> list[StoredChunk]:
        """Return the ledger's chunks of a document; none if there is no ledger."""
        return self._ledger.chunks_of(profile, doc_id) if self._ledger is not None else []

    def put_documents(
        self,
        profile: int,
        pipeline: str,
        batch: Iterable[tuple[DocumentLike, str, Sequence[ChunkLike]]],
        paid: Collection[int] = (),
    ) -> None:
        """Count the passages."""
        for document, _, chunks in batch:
            self.tally.count(document.doc_id, chunks)

    def fact(self, name: str) -> str | None:
        """Return the ledger's fact; None if there is no ledger."""
        return self._ledger.fact(name) if self._ledger is not None else None

    def set_fact(self, name: str, value: str | None) -> None:
        """Do nothing."""


class _Unsaved:
    """A reporter that passes progress on but saves nothing, so a death counts as one without progress."""

    def __init__(self, context: Context) -> None:
        self.report = context.reporter.report

    def saved(self, steps: int) -> None:
        """Do nothing: nothing is saved."""


class _Quiet:
    """Ignores the progress of a forecast that nobody follows."""

    def report(
        self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta_matters: bool
    ) -> None:
        """Do nothing."""

    def saved(self, steps: int) -> None:
        """Do nothing: nothing is saved."""
