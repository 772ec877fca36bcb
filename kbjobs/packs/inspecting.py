"""Describing and verifying a pack without installing it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kbjobs.content.language import count_as_one
from kbjobs.packs.backup_unpacking import BackupReader
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.manifest import MANIFEST
from kbjobs.packs.pack_reading import Pack


def describe_pack(pack: Pack) -> dict[str, Any]:
    """Describe a pack as JSON values. Sizes are in bytes; ``size`` is the stored size."""
    manifest = pack.manifest
    backup = manifest.backup
    return {
        "source": manifest.source.id,
        "name": manifest.source.name,
        "license": manifest.source.license,
        "base_url": manifest.source.base_url,
        "tags": manifest.source.tags,
        "version": pack.version,
        "format": f"{manifest.format}.{manifest.minor}",
        "language": next(iter(count_as_one(manifest.languages)), None),
        "languages": count_as_one(manifest.languages),
        "documents": manifest.documents.records - manifest.filtered,
        "filtered": manifest.filtered,
        "links": manifest.links.records,
        "models": [
            {
                "name": model.name,
                "key": model.key,
                "dimension": model.dimension,
                "passages": manifest.profiles[model.profile].passages.records,
                "vectors": model.vectors,
                "size": sum(block.vectors.size + block.texts.size for block in model.blocks),
            }
            for model in manifest.models
        ],
        "parts": len({part.sha256 for part in manifest.parts()}),
        "size": manifest.size,
        "size_without_backup": sum(part.size for part in manifest.parts(with_backup=False)),
        "backup": None if backup is None else {"files": backup.files.records, "bytes": backup.bytes},
    }


def verify_pack(pack: Pack) -> None:
    """Read all of a pack, and raise DamagedPackError for the first damage."""
    for _ in pack.documents():  # first, so that an error in the documents is reported as such
        pass
    _check_known(pack, "metadata", (record.doc_id for record in pack.metadata()))
    _check_known(pack, "links", (record.doc_id for record in pack.links()))
    for profile in pack.manifest.profiles:
        _check_known(pack, f"passages of {profile.name}", (record.doc_id for record in pack.passages(profile)))
    for model in pack.manifest.models:
        for _ in pack.vectors(model):
            pass
    if pack.manifest.backup is not None:
        reader = BackupReader(pack, pack.manifest.backup)
        for record in reader.files():
            for _ in reader.contents(record):
                pass
        reader.roots()


def _check_known(pack: Pack, name: str, doc_ids: Iterable[str]) -> None:
    """Raise DamagedPackError if an id is not one of the documents' ids; both are sorted."""
    documents: Iterator[str] = (document.doc_id for document in pack.documents())
    at = ""
    for doc_id in doc_ids:
        while at < doc_id:
            at = next(documents, "~")
        if at != doc_id:
            raise DamagedPackError(
                pack.place.label, MANIFEST, f"({name}) has the document {doc_id}, which is not there"
            )
