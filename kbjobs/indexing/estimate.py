"""What an index job would embed: the documents are read and cut as it would, and nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kbjobs.content.chunking import Chunker
from kbjobs.content.tokens import TokenCounter
from kbjobs.context import Context
from kbjobs.indexing.cutting import IndexOptions, choose_profile
from kbjobs.scanning.changes import ScanScope
from kbjobs.scanning.enumeration import Scan
from kbjobs.scanning.scan import Cutting, scan_source
from kbjobs.store.api_batches import texts_out
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import ChunkLike, DocumentLike, KnownDocument, StoredChunk


@dataclass(frozen=True, slots=True)
class Estimate:
    """``chunks`` passages in ``documents`` documents, of which ``missing`` different texts have no vector, with so many
    ``tokens``; ``out`` more are out in batches already."""

    scan: Scan
    documents: int
    chunks: int
    missing: int
    tokens: int
    out: int


class ReadOnly:
    """Takes the place of the ledger in a scan, and only remembers what would be written."""

    def __init__(self, ledger: Ledger | None) -> None:
        self._ledger = ledger
        self.known: dict[str, KnownDocument] = {}
        self.read: dict[str, list[tuple[str, int]]] = {}

    def known_documents(self, profile: int) -> dict[str, KnownDocument]:
        """As the ledger's; none where there is no ledger."""
        self.known = self._ledger.known_documents(profile) if self._ledger is not None else {}
        return self.known

    def chunks_of(self, profile: int, doc_id: str) -> list[StoredChunk]:
        """As the ledger's."""
        return self._ledger.chunks_of(profile, doc_id) if self._ledger is not None else []

    def put_documents(
        self,
        profile: int,
        pipeline: str,
        batch: Iterable[tuple[DocumentLike, str, Sequence[ChunkLike]]],
        paid: Collection[int] = (),
    ) -> None:
        """Remember the hashes and tokens of the passages."""
        for document, _, chunks in batch:
            self.read[document.doc_id] = [(chunk.text_hash, chunk.tokens) for chunk in chunks]

    def fact(self, name: str) -> str | None:
        """As the ledger's."""
        return self._ledger.fact(name) if self._ledger is not None else None

    def set_fact(self, name: str, value: str | None) -> None:
        """Remember nothing."""


class _Unsaved:
    """A reporter that passes progress on; but nothing is saved, so a death is one without progress."""

    def __init__(self, context: Context) -> None:
        self.report = context.reporter.report

    def saved(self, steps: int) -> None:
        pass


def estimate_index(
    context: Context,
    model_key: str,
    tokens: TokenCounter,
    max_tokens: int,
    options: IndexOptions,
) -> Estimate:
    """What ``run_index`` with the same arguments would embed."""
    path = context.source.ledger
    ledger = Ledger(path) if path.exists() else None
    try:
        profile = None
        if ledger is not None:
            profile = ledger.find_profile(choose_profile(ledger, model_key, tokens, max_tokens, options).name)
        reading = ReadOnly(ledger)
        keeps_cut = options.keeps_cut and not options.recut and not options.force
        changes = scan_source(
            replace(context, reporter=_Unsaved(context)),
            reading,
            Cutting(profile or 0, Chunker(tokens, max_tokens), keeps_cut),  # no profile has the number 0
            (0.0, 1.0),
            ScanScope(options.force or options.recut, options.limit, options.allow_delete),
        )
        passages = list(_passages(ledger, profile, reading))
        out: set[str] = set(texts_out(ledger, model_key)) if ledger is not None else set()
        have: set[str] = ledger.texts_with_vectors(model_key) if ledger is not None and not options.force else set()
    finally:
        if ledger is not None:
            ledger.close()
    missing = {text_hash: count for text_hash, count in passages if text_hash not in have}
    out &= missing.keys()
    for text_hash in out:
        del missing[text_hash]
    documents = len(reading.known.keys() | reading.read.keys())
    return Estimate(changes.found.scan, documents, len(passages), len(missing), sum(missing.values()), len(out))


def _passages(ledger: Ledger | None, profile: int | None, reading: ReadOnly) -> Iterator[tuple[str, int]]:
    """Hash and tokens of each passage that there would be, cut for the profile."""
    for passages in reading.read.values():
        yield from passages
    if ledger is not None and profile is not None:
        for doc_id, text_hash, count in ledger.passages(profile):
            if doc_id not in reading.read:
                yield text_hash, count
