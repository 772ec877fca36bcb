"""Removing files that no pack in a store needs, after a grace period; and rebuilding the store's catalogue."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kbjobs.errors import ConflictError, UnavailableError
from kbjobs.object_storage.bucket import Bucket
from kbjobs.packs.manifest import MAX_MANIFEST, Manifest, name_version, read_manifest
from kbjobs.packs.pack_catalogue import (
    CATALOGUE,
    Catalogue,
    PackEntry,
    change_catalogue,
    describe_version,
    list_manifests,
    read_catalogue,
    version_name,
)
from kbjobs.packs.uploading import MARKERS

BATCH = 500
"""Objects deleted between two checks whether an upload has begun."""
ABANDONED = timedelta(days=7)
"""Age at which an upload's marker counts as left by an upload that was killed and never repeated."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """Counts of what was or would be removed: manifests not in the catalogue, parts not in any manifest.

    ``kept_young`` counts parts that are not needed but younger than the grace period.
    """

    manifests: int
    parts: int
    bytes: int
    kept_young: int
    dry_run: bool

    def as_dict(self) -> dict[str, Any]:
        """The counts as the JSON that ``--json`` prints."""
        return asdict(self)


def prune(bucket: Bucket, grace: timedelta, dry_run: bool = False) -> Pruned:
    """Remove manifests and parts that nothing needs and that are older than a grace period.

    Args:
        bucket: the store.
        grace: the age below which a file is kept, because an upload may just have written it.
        dry_run: whether to count only, and remove nothing.

    Raises:
        ConflictError: an upload is running; nothing more is removed.
        UnavailableError: a manifest or the catalogue cannot be read; nothing is removed.
    """
    now = datetime.now(UTC)
    _check_uploads(bucket, now)
    catalogue, _ = read_catalogue(bucket)
    if catalogue is None:
        raise UnavailableError(
            f"{bucket.label} has no {CATALOGUE}",
            "Check the address; --rebuild-catalogue builds one from the packs in the store.",
        )
    named = {version_name(pack.source, version) for pack in catalogue.packs for version in pack.versions}
    old_manifests: list[str] = []
    wanted: set[str] = set()
    for name, modified in list_manifests(bucket).items():
        if name not in named and now - modified > grace:
            old_manifests.append(name)
        else:
            wanted.update(part.name for part in _read(bucket, name).parts())
    old_parts: list[str] = []
    freed = young = 0
    for entry in bucket.list("objects/"):
        if entry.name in wanted:
            continue
        if now - entry.modified > grace:
            old_parts.append(entry.name)
            freed += entry.size
        else:
            young += 1
    if not dry_run:
        names = old_manifests + old_parts  # in this order: never a manifest without its parts
        for start in range(0, len(names), BATCH):
            _check_uploads(bucket, datetime.now(UTC))
            bucket.delete(names[start : start + BATCH])
    return Pruned(len(old_manifests), len(old_parts), freed, young, dry_run)


def rebuild_catalogue(bucket: Bucket) -> Catalogue:
    """Rewrite the catalogue from the manifests in the store; its old content is ignored."""
    found: dict[str, list[tuple[datetime, Manifest]]] = {}
    for name, modified in list_manifests(bucket).items():
        manifest = _read(bucket, name)
        found.setdefault(manifest.source.id, []).append((modified, manifest))
    packs = []
    for source_id, versions in sorted(found.items()):
        versions.sort(key=lambda one: one[0], reverse=True)
        newest = versions[0][1].source
        packs.append(
            PackEntry(
                source=source_id,
                name=newest.name,
                license=newest.license,
                versions=[describe_version(manifest, modified) for modified, manifest in versions],
            )
        )
    with bucket.locked(CATALOGUE):
        bucket.delete([CATALOGUE])
    return change_catalogue(bucket, lambda there: there.model_copy(update={"packs": packs}))


def _read(bucket: Bucket, name: str) -> Manifest:
    content = bucket.read(name, MAX_MANIFEST)
    if content is None:
        raise ConflictError(f"{bucket.label}/{name} was removed while the store was read", "Try again.")
    manifest = read_manifest(content.data, bucket.label, name)
    if name_version(content.data) != name.split("/")[2]:
        raise UnavailableError(
            f"{bucket.label}/{name} was changed: its hash differs",
            "Remove it there, or put back what was uploaded, then try again.",
        )
    return manifest


def _check_uploads(bucket: Bucket, now: datetime) -> None:
    running = [entry for entry in bucket.list(MARKERS) if now - entry.modified < ABANDONED]
    if running:
        began = min(entry.modified for entry in running)
        raise ConflictError(
            f"an upload to {bucket.label} runs, or was killed, since {began:%Y-%m-%d %H:%M} UTC",
            "Wait until it has ended. If it was killed, upload that source again, or delete"
            f" {running[0].name} there, then try again.",
        )
