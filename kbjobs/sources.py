"""The front door to sources: register, edit, show, verify, rebuild, search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kbjobs.credentials import find_secret
from kbjobs.daemon.locks import lock_source
from kbjobs.errors import (
    KbjobsError,
    MissingRequirementError,
    NotFoundError,
    UnavailableError,
    UsageError,
)
from kbjobs.registering import edit, register
from kbjobs.settings import Home, Settings
from kbjobs.store.ledger import Ledger
from kbjobs.store.metadata import count_filtered, count_languages
from kbjobs.store.sources import Source, SourceFolder, check_source_id, list_source_ids

if TYPE_CHECKING:
    from kbjobs.embedding.base import Embedder
    from kbjobs.vectors.collection import Hit

__all__ = [
    "SearchResult",
    "SourceState",
    "Verification",
    "describe",
    "describe_all",
    "edit",
    "rebuild",
    "register",
    "search",
    "verify",
]

OnDamaged = Callable[[str, KbjobsError], None]
LOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ModelState:
    """What a ledger holds for a model: passages and vectors; ``cleared``: its collection is gone on purpose."""

    model: str
    key: str
    dimension: int
    chunks: int
    vectors: int
    cleared: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a collection and its ledger differ: of which model, how (missing, extra, unreachable …), and the record."""

    model: str
    problem: str
    record: str | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """A source's collections compared with its ledger: ``checked`` passages; ``cleared`` names models without one."""

    source: str
    checked: int
    drift: tuple[Difference, ...]
    cleared: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether they hold the same."""
        return not self.drift

    def as_dict(self) -> dict[str, Any]:
        """As the JSON that ``--json`` prints."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A collection that was built anew from the ledger."""

    model: str
    dimension: int
    records: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A passage that was found; ``score`` is its cosine similarity to the words, ``rank`` counts from 1."""

    rank: int
    score: float
    source: str
    doc_id: str
    title: str
    url: str
    text: str
    model: str


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source with what its ledger holds: documents, and passages and vectors by model.

    ``documents`` are without those that a language filter has marked, which are counted in ``filtered``;
    ``languages`` counts all whose metadata was read.
    """

    source: Source
    documents: int
    models: tuple[ModelState, ...]
    filtered: int = 0
    languages: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As the JSON that ``--json`` prints."""
        return {
            **asdict(self.source),
            "documents": self.documents,
            "filtered": self.filtered,
            "languages": self.languages,
            "models": [asdict(model) for model in self.models],
        }


def describe(home: Home, source_id: str) -> SourceState:
    """A source and what its ledger holds."""
    folder = SourceFolder(home.sources, source_id)
    source = folder.read()
    if not folder.ledger.exists():
        return SourceState(source, 0, ())
    ledger = Ledger(folder.ledger)
    try:
        models = tuple(
            ModelState(
                row.name,
                row.key,
                row.dimension,
                ledger.count_chunks(row.profile),
                ledger.count_vectors(row.id),
                cleared=bool(row.is_cleared) and not (folder.vectors / row.key).exists(),
            )
            for row in ledger.models()
        )
        return SourceState(source, ledger.count_documents(), models, count_filtered(ledger), count_languages(ledger))
    finally:
        ledger.close()


def describe_all(home: Home, on_damaged: OnDamaged) -> list[SourceState]:
    """All sources by id; of one whose manifest or ledger cannot be used, ``on_damaged`` is told its id and why."""
    states = []
    for source_id in list_source_ids(home.sources):
        try:
            states.append(describe(home, source_id))
        except NotFoundError:  # removed since
            continue
        except UnavailableError as error:
            on_damaged(source_id, error)
    return states


def verify(home: Home, source_id: str) -> Verification:
    """Compare each of a source's collections with its ledger."""
    from kbjobs.vectors.collection import CollectionError
    from kbjobs.vectors.publishing import WorkingCopy
    from kbjobs.vectors.sync import Indexed
    from kbjobs.vectors.sync import verify as verify_collection

    folder = _indexed_folder(home, source_id)
    drift: list[Difference] = []
    cleared: list[str] = []
    with lock_source(folder.lock, source_id, LOCK_SECONDS):
        ledger = Ledger(folder.ledger)
        try:
            checked = 0
            for row in ledger.models():
                indexed = Indexed(ledger, row.id, row.profile, folder.vectors / row.key)
                if row.is_cleared and not WorkingCopy(indexed.live).readable().exists():
                    cleared.append(row.name)
                    continue
                try:
                    found = verify_collection(indexed, sample=200)
                except CollectionError as error:
                    drift.append(Difference(row.name, error.message))
                    continue
                checked += ledger.count_chunks(row.profile)
                drift.extend(
                    Difference(row.name, problem, record)
                    for problem, records in asdict(found).items()
                    for record in records
                )
        finally:
            ledger.close()
    return Verification(source_id, checked, tuple(drift), tuple(cleared))


def rebuild(home: Home, source_id: str) -> list[Rebuilt]:
    """Build a source's collections anew from the ledger, beside the old ones, and swap. No model is loaded.

    A collection that was cleared is built again too: its vectors are still there.
    """
    from kbjobs.vectors.sync import Indexed, settle_and_publish

    folder = _indexed_folder(home, source_id)
    rebuilt = []
    with lock_source(folder.lock, source_id, LOCK_SECONDS):
        ledger = Ledger(folder.ledger)
        try:
            for row in ledger.models():
                indexed = Indexed(ledger, row.id, row.profile, folder.vectors / row.key)
                settle_and_publish(indexed, needs_fresh=True)
                records = len(ledger.record_ids(row.id, row.profile))
                rebuilt.append(Rebuilt(row.name, row.dimension, records))
        finally:
            ledger.close()
    return rebuilt


def search(
    home: Home,
    settings: Settings,
    words: str,
    source_id: str | None,
    count: int,
    model: str | None,
    on_notice: Callable[[str], None] = lambda text: None,
    on_damaged: OnDamaged = lambda source_id, error: None,
) -> list[SearchResult]:
    """The passages nearest to the words, best first, over one source or all that have the model's index.

    ``on_notice`` is told of sources that were indexed, but not with the model; ``on_damaged`` the id of each that
    cannot be searched, and why, where all are.
    """
    from kbjobs.searching.nearest import find_nearest
    from kbjobs.vectors.collection import CollectionError
    from kbjobs.vectors.publishing import WorkingCopy

    if not words.strip():
        raise UsageError("there is nothing to search for", 'Give some words: kbjobs search "boil water".')
    if any("\ud800" <= character <= "\udfff" for character in words):  # how Python gives bytes that are no text
        raise UsageError("the words are not valid UTF-8", "Is the terminal set to another character set?")
    ids = [source_id] if source_id is not None else list_source_ids(home.sources)
    folders = []
    indexed = {}
    for folder in [SourceFolder(home.sources, one) for one in ids]:
        try:
            folder.read()
            indexed[folder.id] = _model_keys(folder)
        except UnavailableError as error:
            if source_id is not None:
                raise
            on_damaged(folder.id, error)
        else:
            folders.append(folder)
    name = model or _only_model(indexed) or settings.text("model")
    query = _Query.of(name, home, settings)
    key = query.key
    searched = [folder for folder in folders if WorkingCopy(folder.vectors / key).readable().exists()]
    others = {
        folder.id: sorted(set(indexed[folder.id].values()))
        for folder in folders
        if folder not in searched and indexed[folder.id]
    }
    if not searched:
        raise _not_indexed(source_id, query, others)
    for other, models in others.items():
        on_notice(f"Not searched: {other}, indexed with {', '.join(models)} and not with {query.model}.")
    embedder = query.load()
    try:
        vector = embedder.embed_query(words)
    finally:
        embedder.close()
    found: list[tuple[str, Hit]] = []
    for folder in searched:
        try:
            hits = find_nearest(WorkingCopy(folder.vectors / key), vector, count, on_notice)
        except CollectionError as error:
            if source_id is not None:
                raise
            on_damaged(folder.id, error)
        else:
            found += [(folder.id, hit) for hit in hits]
    found.sort(key=lambda pair: -pair[1].score)
    return [
        SearchResult(rank, round(hit.score, 4), source, hit.doc_id, hit.title, hit.url, hit.text, query.model)
        for rank, (source, hit) in enumerate(found[:count], start=1)
    ]


@dataclass(frozen=True, slots=True)
class _Query:
    """The model a search is made with: name, key in a ledger, what loads it, what indexes with it."""

    model: str
    key: str
    load: Callable[[], Embedder]
    index_command: str

    @classmethod
    def of(cls, name: str, home: Home, settings: Settings) -> _Query:
        """For a local or an online model. Raises what finding it raises."""
        from kbjobs.embedding.online_models import OPENAI_KEY, find_online

        if online := find_online(name):

            def connect() -> Embedder:
                from kbjobs.embedding.openai_embedder import OpenAIEmbedder

                # Somebody waits for the answer: not as patient as a job.
                return OpenAIEmbedder(online, find_secret(home, OPENAI_KEY), retries=2, timeout=30)

            return cls(online.name, online.key, connect, "index-online {}")
        from kbjobs.embedding.catalogue import find_model
        from kbjobs.embedding.choose import load_embedder
        from kbjobs.embedding.identity import model_key, weights_hash

        found = find_model(name, home.models)
        key = model_key(found, weights_hash(found, home.engines))

        def load() -> Embedder:
            return load_embedder(name, home.models, home.engines, settings.text("engine"))

        return cls(found.name, key, load, f"index-offline {{}} --model {found.name}")


def _not_indexed(source_id: str | None, query: _Query, others: dict[str, list[str]]) -> NotFoundError:
    what = f"source {source_id!r} has no" if source_id else "no source has an"
    hint = f"kbjobs run {query.index_command.format(source_id or 'SOURCE')}"
    if not others:
        return NotFoundError(f"{what} index of {query.model}", hint)
    there = sorted({name for models in others.values() for name in models})
    return NotFoundError(
        f"{what} index of {query.model}; there is one of {', '.join(there)}",
        f"Search with --model {there[0]}, or index it: {hint}",
    )


def _model_keys(folder: SourceFolder) -> dict[str, str]:
    """Names of the models that a source has a collection of, by key."""
    from kbjobs.vectors.publishing import WorkingCopy

    if not folder.ledger.exists():
        return {}
    ledger = Ledger(folder.ledger)
    try:
        return {
            row.key: row.name for row in ledger.models() if WorkingCopy(folder.vectors / row.key).readable().exists()
        }
    finally:
        ledger.close()


def _only_model(indexed: dict[str, dict[str, str]]) -> str | None:
    """The model that everything in question was indexed with, where it is one and the same."""
    names = {name for models in indexed.values() for name in models.values()}
    return names.pop() if len(names) == 1 else None


def _indexed_folder(home: Home, source_id: str) -> SourceFolder:
    folder = SourceFolder(home.sources, check_source_id(source_id))
    folder.read()
    if not folder.ledger.exists():
        raise MissingRequirementError(
            f"source {source_id!r} was never indexed", f"kbjobs run index-offline {source_id}"
        )
    return folder
