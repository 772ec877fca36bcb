"""The front door to sources: register, show, verify, rebuild, search."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kbjobs.daemon.locks import lock_source
from kbjobs.errors import ConflictError, MissingRequirementError, NotFoundError, UsageError
from kbjobs.settings import Home, Settings
from kbjobs.store.ledger import Ledger
from kbjobs.store.queue import now
from kbjobs.store.sources import Source, SourceFolder, check_source_id, list_sources

LOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source with what its ledger holds: documents, and passages and vectors by model."""

    source: Source
    documents: int
    models: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """As the JSON that ``--json`` prints."""
        return {**asdict(self.source), "documents": self.documents, "models": list(self.models)}


def register(
    home: Home,
    source_id: str,
    paths: Sequence[Path],
    name: str = "",
    license_name: str = "",
    base_url: str = "",
    copy: bool = False,
) -> tuple[Source, int]:
    """Register folders or files as a source; returns it and the number of files it has now.

    With ``copy`` the files are copied into the home, else they are read where they are.
    """
    from kbjobs.content.files import FoundFile, find_files

    folder = SourceFolder(home.sources, source_id)
    if base_url and not base_url.startswith(("http://", "https://")):
        raise UsageError(f"{base_url!r} is not a base URL", "It begins with http:// or https://.")
    roots = [Path(os.path.abspath(path.expanduser())) for path in paths]  # noqa: PTH100 — keeps links as given
    search = find_files(roots)
    files = [entry for entry in search if isinstance(entry, FoundFile)]
    if not files:
        raise UsageError(
            f"no .html, .htm, .xhtml, .txt or .md file in {', '.join(str(root) for root in roots)}"
            + (f" ({search.ignored} files of other types)" if search.ignored else ""),
            "Name the folder that holds the pages.",
        )
    if folder.manifest.exists():
        raise ConflictError(
            f"source {source_id!r} exists already",
            f"See kbjobs sources show {source_id}, or choose another id.",
        )
    home.prepare()
    if copy:
        for file in files:
            target = folder.pages / Path(file.key)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy2(file.path, target)
        roots = sorted({folder.pages / Path(file.key).parts[0] for file in files})
    source = Source(source_id, tuple(str(root) for root in roots), name, license_name, base_url, now())
    folder.write(source)
    return source, len(files)


def describe(home: Home, source_id: str) -> SourceState:
    """A source and what its ledger holds."""
    folder = SourceFolder(home.sources, source_id)
    source = folder.read()
    if not folder.ledger.exists():
        return SourceState(source, 0, ())
    ledger = Ledger(folder.ledger)
    try:
        models = tuple(
            {
                "model": row["name"],
                "key": row["key"],
                "dimension": row["dimension"],
                "chunks": ledger.count_chunks(row["profile"]),
                "vectors": ledger.count_vectors(row["id"]),
            }
            for row in ledger.models()
        )
        return SourceState(source, ledger.count_documents(), models)
    finally:
        ledger.close()


def describe_all(home: Home) -> list[SourceState]:
    """All sources by id."""
    return [describe(home, source.id) for source in list_sources(home.sources)]


def verify(home: Home, source_id: str) -> dict[str, Any]:
    """Compare each of a source's collections with its ledger: ``ok`` and a list ``drift``."""
    from kbjobs.vectors.collection import CollectionError
    from kbjobs.vectors.sync import Indexed
    from kbjobs.vectors.sync import verify as verify_collection

    folder = _indexed_folder(home, source_id)
    drift: list[dict[str, Any]] = []
    with lock_source(folder.lock, source_id, LOCK_SECONDS):
        ledger = Ledger(folder.ledger)
        try:
            checked = 0
            for row in ledger.models():
                indexed = Indexed(ledger, row["id"], row["profile"], folder.vectors / row["key"])
                try:
                    found = verify_collection(indexed, sample=200)
                except CollectionError as error:
                    drift.append({"model": row["name"], "problem": error.message})
                    continue
                checked += ledger.count_chunks(row["profile"])
                drift.extend(
                    {"model": row["name"], "problem": problem, "record": record}
                    for problem, records in asdict(found).items()
                    for record in records
                )
        finally:
            ledger.close()
    return {"source": source_id, "ok": not drift, "checked": checked, "drift": drift}


def rebuild(home: Home, source_id: str) -> list[dict[str, Any]]:
    """Build a source's collections anew from the ledger, beside the old ones, and swap. No model is loaded."""
    from kbjobs.vectors.sync import Indexed, settle_and_publish

    folder = _indexed_folder(home, source_id)
    rebuilt = []
    with lock_source(folder.lock, source_id, LOCK_SECONDS):
        ledger = Ledger(folder.ledger)
        try:
            for row in ledger.models():
                indexed = Indexed(ledger, row["id"], row["profile"], folder.vectors / row["key"])
                settle_and_publish(indexed, needs_fresh=True)
                records = len(ledger.record_ids(row["id"], row["profile"]))
                rebuilt.append({"model": row["name"], "dimension": row["dimension"], "records": records})
        finally:
            ledger.close()
    return rebuilt


def search(
    home: Home, settings: Settings, words: str, source_id: str | None, count: int, model: str | None
) -> list[dict[str, Any]]:
    """The passages nearest to the words, best first, over one source or all that have the model's index."""
    from kbjobs.embedding.choose import load_embedder
    from kbjobs.vectors.collection import Collection, Hit
    from kbjobs.vectors.publishing import WorkingCopy

    if not words.strip():
        raise UsageError("there is nothing to search for", 'Give some words: kbjobs search "boil water".')
    ids = [source_id] if source_id is not None else [source.id for source in list_sources(home.sources)]
    folders = [SourceFolder(home.sources, one) for one in ids]
    for folder in folders:
        folder.read()
    indexed = {folder.id: _model_keys(folder) for folder in folders}
    name = model or _only_model(indexed) or settings.text("model")
    embedder = load_embedder(name, home.models, home.engines, settings.text("engine"))
    try:
        vector = embedder.embed_query(words)
        key = embedder.model_key
    finally:
        embedder.close()
    found: list[tuple[str, Hit]] = []
    searched = 0
    for folder in folders:
        path = WorkingCopy(folder.vectors / key).readable()
        if path.exists():
            searched += 1
            with Collection(path) as collection:
                found.extend((folder.id, hit) for hit in collection.query(vector, count))
    if not searched:
        where = f"source {source_id!r}" if source_id else "no source"
        verb = "has no" if source_id else "has an"
        raise NotFoundError(
            f"{where} {verb} index of {embedder.name}",
            f"kbjobs run index-offline {source_id or 'SOURCE'} --model {embedder.name}",
        )
    found.sort(key=lambda pair: -pair[1].score)
    return [
        {
            "rank": rank,
            "score": round(hit.score, 4),
            "source": source,
            "doc_id": hit.doc_id,
            "title": hit.title,
            "url": hit.url,
            "text": hit.text,
            "model": embedder.name,
        }
        for rank, (source, hit) in enumerate(found[:count], start=1)
    ]


def _model_keys(folder: SourceFolder) -> dict[str, str]:
    """Names of the models that a source has a collection of, by key."""
    if not folder.ledger.exists():
        return {}
    ledger = Ledger(folder.ledger)
    try:
        return {row["key"]: row["name"] for row in ledger.models() if (folder.vectors / row["key"]).exists()}
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
