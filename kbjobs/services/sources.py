"""Sources: register, edit, relocate, show, verify, rebuild, compact."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.content.language import count_as_one
from kbjobs.errors import (
    KbjobsError,
    MissingRequirementError,
    NotFoundError,
    UnavailableError,
)
from kbjobs.sources.registration import SourceFields, edit, register
from kbjobs.sources.relocation import relocate
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_copy import open_ledger
from kbjobs.store.locks import lock_registered
from kbjobs.store.metadata import count_filtered, count_languages
from kbjobs.store.source_deletion import SourceFolderDeletion, list_unfinished
from kbjobs.store.sources import Source, SourceFolder, check_source_id, list_source_ids
from kbjobs.vectors.chroma_places import name_store

if TYPE_CHECKING:
    from kbjobs.indexing.compact import Compacted

__all__ = [
    "SourceFields",
    "SourceState",
    "Verification",
    "compact",
    "describe",
    "describe_all",
    "describe_deletion",
    "edit",
    "list_half_deleted",
    "list_ids",
    "list_indexes",
    "measure",
    "rebuild",
    "register",
    "relocate",
    "verify",
]

OnDamaged = Callable[[str, KbjobsError], None]
LOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SourceModel:
    """The passages and vectors that a ledger holds for a model; ``cleared``: its collection was removed on purpose.

    ``store`` is the address of the collection's Chroma server, '' if it is in the home.
    """

    model: str
    key: str
    dimension: int
    chunks: int
    vectors: int
    cleared: bool
    store: str = ""


@dataclass(frozen=True, slots=True)
class IndexState:
    """The index of a model: the number of different passages, and how many of them have a vector or lack one.

    ``store``: "home" or the address of a Chroma server; None if the collection was cleared.
    """

    model: str
    key: str
    dimension: int
    passages: int
    indexed: int
    missing: int
    store: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between a model's collection and its ledger: the kind, the record, and details.

    ``problem`` is one of the kinds of :data:`kbjobs.vectors.verifying.Problem`; for ``outdated``, ``record`` is a file.
    """

    model: str
    problem: str
    record: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """A source's collections compared with its ledger.

    ``checked`` is the number of passages compared; ``cleared`` names models whose collection was removed on purpose.
    """

    source: str
    checked: int
    drift: tuple[Difference, ...]
    cleared: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether collections and ledger are equal."""
        return not self.drift

    def as_dict(self) -> dict[str, Any]:
        """The result as the JSON that ``--json`` prints."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A collection that was rebuilt from the ledger."""

    model: str
    dimension: int
    records: int


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source with the contents of its ledger: documents, and passages and vectors by model.

    ``documents`` does not count those that a language filter has marked, which are counted in ``filtered``;
    ``languages`` counts all documents whose metadata was read.
    """

    source: Source
    documents: int
    models: tuple[SourceModel, ...]
    filtered: int = 0
    languages: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The source as the JSON that ``--json`` prints."""
        return {
            **asdict(self.source),
            "documents": self.documents,
            "filtered": self.filtered,
            "languages": self.languages,
            "models": [asdict(model) for model in self.models],
        }


def describe(home: Home, source_id: str) -> SourceState:
    """Describe a source and the contents of its ledger."""
    folder = SourceFolder(home.sources, source_id)
    source = folder.read()
    if not folder.ledger.exists():
        return SourceState(source, 0, ())
    with open_ledger(folder.ledger) as ledger:
        models = tuple(
            SourceModel(
                row.name,
                row.key,
                row.dimension,
                ledger.count_chunks(row.profile),
                ledger.count_vectors(row.id),
                cleared=bool(row.is_cleared) and not (folder.vectors / row.key).exists(),
                store=name_store(ledger, row.key),
            )
            for row in ledger.models()
        )
        languages = count_as_one(count_languages(ledger))
        return SourceState(source, ledger.count_documents(), models, count_filtered(ledger), languages)


def list_indexes(home: Home, source_id: str) -> list[IndexState]:
    """The indexes of a source, one for each model. Raises NotFoundError."""
    folder = SourceFolder(home.sources, source_id)
    folder.read()
    if not folder.ledger.exists():
        return []
    found = []
    with open_ledger(folder.ledger) as ledger:
        for row in ledger.models():
            passages = ledger.count_texts(row.profile)
            missing = len(ledger.missing_texts(row.id, row.profile))
            is_cleared = bool(row.is_cleared) and not (folder.vectors / row.key).exists()
            server = name_store(ledger, row.key)
            store = None if is_cleared else server or "home"
            found.append(IndexState(row.name, row.key, row.dimension, passages, passages - missing, missing, store))
    return found


def measure(home: Home, source_id: str) -> int:
    """The size of a source's ledger and indexes in the home, in bytes; its own files are not counted."""
    folder = SourceFolder(home.sources, check_source_id(source_id))
    files = [folder.ledger, *folder.vectors.rglob("*")]
    total = 0
    for file in files:
        try:
            total += file.lstat().st_size
        except FileNotFoundError:  # a file of an index that is being built
            continue
    return total


def describe_all(home: Home, on_damaged: OnDamaged) -> list[SourceState]:
    """Describe all sources by id; ``on_damaged`` is called with the id and error of each unusable one."""
    states = []
    for source_id in list_source_ids(home.sources):
        try:
            states.append(describe(home, source_id))
        except NotFoundError:  # removed since
            continue
        except UnavailableError as error:
            on_damaged(source_id, error)
    return states


def list_ids(home: Home) -> list[str]:
    """The ids of all registered sources, including damaged ones."""
    return list_source_ids(home.sources)


def describe_deletion(home: Home, source_id: str, keep_files: bool) -> str:
    """Describe what a deletion would remove and what it would keep, for people.

    Args:
        home: the source's home.
        source_id: the source's id.
        keep_files: whether the source's files would be kept.
    """
    from kbjobs.sources.deletion import find_facts, format_contents, format_untouched

    facts = find_facts(SourceFolderDeletion(home.sources, source_id), keep_files)
    kept = [f"kept: what else lies in {facts.kept}"] if facts.kept else []
    removed = [f"{source_id}: {format_contents(facts)}, {facts.freed_bytes / 1e6:,.1f} MB, are to be deleted for good"]
    return "; ".join([*removed, *kept, *format_untouched(facts)]) + "."


def list_half_deleted(home: Home) -> list[tuple[str, str]]:
    """The sources whose deletion has begun but not ended: the id, and the folder with the rest."""
    return [(removal.source.id, str(removal.hidden)) for removal in list_unfinished(home.sources)]


def verify(home: Home, source_id: str) -> Verification:
    """Compare each of a source's collections with its ledger."""
    from kbjobs.vectors.indexed import Collections
    from kbjobs.vectors.verifying import verify as verify_collection

    folder = _indexed_folder(home, source_id)
    drift: list[Difference] = []
    cleared: list[str] = []
    with (
        lock_registered(folder, LOCK_SECONDS),
        closing(Collections(home, Settings(home), folder)) as collections,
        Ledger(folder.ledger) as ledger,
    ):
        checked = 0
        for row in ledger.models():
            indexed = collections.of(ledger, row.id, row.profile, row.key)
            if row.is_cleared and not indexed.copies.is_there():
                cleared.append(row.name)
                continue
            found = verify_collection(indexed, sample=200)
            drift.extend(Difference(row.name, one.problem, one.record, one.detail) for one in found)
            if not {"absent", "damaged"} & {one.problem for one in found}:
                checked += ledger.count_chunks(row.profile)
    return Verification(source_id, checked, tuple(drift), tuple(cleared))


def rebuild(home: Home, source_id: str) -> list[Rebuilt]:
    """Rebuild a source's collections from the ledger, next to the old ones, and swap them. No model is loaded.

    A cleared collection is rebuilt too, since its vectors are still in the ledger.
    """
    from kbjobs.vectors.indexed import Collections
    from kbjobs.vectors.sync import recover_and_publish

    folder = _indexed_folder(home, source_id)
    rebuilt = []
    with (
        lock_registered(folder, LOCK_SECONDS),
        closing(Collections(home, Settings(home), folder)) as collections,
        Ledger(folder.ledger) as ledger,
    ):
        for row in ledger.models():
            records = recover_and_publish(collections.of(ledger, row.id, row.profile, row.key), needs_fresh=True)
            rebuilt.append(Rebuilt(row.name, row.dimension, records))
    return rebuilt


def compact(home: Home, source_id: str) -> Compacted:
    """Give unused space of a source's files back to the disk.

    Raises ConflictError while a job of the source is running, UnavailableError if the disk has no room for the work.
    """
    from kbjobs.indexing.compact import compact_source
    from kbjobs.vectors.indexed import Collections

    folder = SourceFolder(home.sources, check_source_id(source_id))
    folder.read()
    with lock_registered(folder, LOCK_SECONDS), closing(Collections(home, Settings(home), folder)) as collections:
        return compact_source(folder, collections)


def _indexed_folder(home: Home, source_id: str) -> SourceFolder:
    folder = SourceFolder(home.sources, check_source_id(source_id))
    folder.read()
    if not folder.ledger.exists():
        raise MissingRequirementError(
            f"source {source_id!r} was never indexed", f"kbjobs run index-offline {source_id}"
        )
    return folder
