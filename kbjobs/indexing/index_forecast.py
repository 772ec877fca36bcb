"""What an index job is expected to embed, in seconds: the ledger is asked, and a sample of what is new is read.

An exact count reads everything (:mod:`kbjobs.indexing.estimate`). Nothing is written.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.content.chunking import Chunker
from kbjobs.content.tokens import TokenCounter
from kbjobs.context import Context
from kbjobs.formatting import counted
from kbjobs.indexing.cutting import IndexOptions, choose_profile
from kbjobs.indexing.estimate import ReadOnly
from kbjobs.scanning.changes import Comparison, Options, ScanScope, SourceChanges
from kbjobs.scanning.enumeration import enumerate_source
from kbjobs.scanning.scan import name_pipeline
from kbjobs.store.api_batches import texts_out
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder

SAMPLE = 300
"""Files read at most, and entries looked at of each archive: one or two seconds."""


@dataclass(frozen=True, slots=True)
class IndexForecast:
    """``passages`` in ``documents``, of which ``missing`` different texts, of so many ``tokens``, have no vector.

    ``sampled``: how many documents were read for it; ``is_exact``: whether these were all that are new or changed.
    """

    documents: int
    passages: int
    missing: int
    tokens: int
    sampled: int
    is_exact: bool

    def tell_sample(self) -> str:
        """For a note: by how many documents it was judged, or nothing where all were read."""
        return "" if self.is_exact else f"; judged by {counted(self.sampled, 'document')}"


class _Quiet:
    """Progress of a look that nobody follows."""

    def report(
        self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta_matters: bool
    ) -> None:
        """Say nothing."""

    def saved(self, steps: int) -> None:
        """Nothing is saved."""


def forecast_index(
    home: Home,
    settings: Settings,
    folder: SourceFolder,
    model_key: str,
    tokens: TokenCounter,
    max_tokens: int,
    options: IndexOptions,
) -> IndexForecast:
    """What ``run_index`` with the same arguments would embed, judged by a sample of what it would read.

    Raises:
        KbjobsError: the source has no documents, or too many of them are gone, as the job would say.
    """
    log = logging.getLogger(__name__)
    log.setLevel(logging.ERROR)  # the job itself will warn
    context = Context(home, settings, folder, 0, _Quiet(), lambda: False, log)
    ledger = Ledger(folder.ledger) if folder.ledger.exists() else None
    if ledger is None:
        return _look(context, None, model_key, tokens, max_tokens, options)
    with ledger:
        return _look(context, ledger, model_key, tokens, max_tokens, options)


def _look(
    context: Context,
    ledger: Ledger | None,
    model_key: str,
    tokens: TokenCounter,
    max_tokens: int,
    options: IndexOptions,
) -> IndexForecast:
    source = context.source.read()
    profile = None
    if ledger is not None:
        profile = ledger.find_profile(choose_profile(ledger, model_key, tokens, max_tokens, options).name)
    reading = ReadOnly(ledger)
    known = reading.known_documents(profile or 0)  # no profile has this number
    found = enumerate_source(context, source, known, options.limit, options.allow_delete)
    pipeline, rereads = name_pipeline(source), options.force or options.recut
    current: set[str] = set()

    def is_current(doc_id: str, signature: str) -> bool:
        seen = known.get(doc_id)
        if seen is None or not seen.is_chunked or (seen.pipeline, seen.signature) != (pipeline, signature):
            return False
        current.add(doc_id)
        return True

    purpose = f"profile-{profile or 0} {pipeline}"
    scope = ScanScope(rereads, options.limit, options.allow_delete)
    wanted = Options(purpose, keeps_text=True, scope=scope, sample=SAMPLE)
    changes = SourceChanges(context, found, Comparison(known, is_current), reading, wanted, lambda done, total: None)
    have = ledger.texts_with_vectors(model_key) if ledger is not None and not options.force else set()
    if ledger is not None:
        have |= texts_out(ledger, model_key).keys()
    tally, chunker = _Tally(have), Chunker(tokens, max_tokens)
    for batch in changes.batches():
        documents = [one.document for one in batch]
        for document, chunks in zip(documents, chunker.chunk_many(documents), strict=True):
            share = changes.stands_for(document.path)
            tally.is_exact = tally.is_exact and share == 1
            tally.sampled += 1
            tally.documents += share
            for chunk in chunks:
                tally.add(chunk.text_hash, chunk.tokens, share)
    if ledger is not None and profile is not None and not rereads:
        # Of an archive only a sample was looked at: what is known of the same file stays.
        for archive in found.archives:
            current.update(
                doc_id
                for doc_id, one in known.items()
                if one.is_chunked
                and one.pipeline == pipeline
                and one.path.startswith(f"{archive.key}/")
                and one.signature.startswith(archive.signature)
            )
        tally.documents += len(current)
        for doc_id, text_hash, count in ledger.passages(profile):
            if doc_id in current:
                tally.add(text_hash, count)
    return tally.forecast()


@dataclass(slots=True)
class _Tally:
    """Counts what was seen, each as often as what it stands for; of equal texts only one is embedded."""

    have: set[str]
    documents: float = 0.0
    passages: float = 0.0
    missing: float = 0.0
    tokens: float = 0.0
    sampled: int = 0
    is_exact: bool = True

    def add(self, text_hash: str, tokens: int, share: float = 1.0) -> None:
        """Count a passage."""
        self.passages += share
        if text_hash not in self.have:
            self.have.add(text_hash)
            self.missing += share
            self.tokens += share * tokens

    def forecast(self) -> IndexForecast:
        """What came of it, in whole numbers."""
        return IndexForecast(
            round(self.documents),
            round(self.passages),
            round(self.missing),
            round(self.tokens),
            self.sampled,
            self.is_exact,
        )
