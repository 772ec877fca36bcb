"""The catalogue of a store: its packs, newest version first, so that a reader need not list the store.

It is changed by conditional writes, which succeed only if the catalogue is still the one that was read: of several
writers at once one succeeds, and the others read again.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kbjobs.errors import NotFoundError, UnavailableError, UsageError
from kbjobs.object_storage.bucket import Bucket
from kbjobs.packs.fields import First, Hex64, Line, Number, Slug
from kbjobs.packs.json_lines import load
from kbjobs.packs.manifest import Manifest, manifest_name, name_version
from kbjobs.store.sources import check_source_id

CATALOGUE = "catalogue.json"
FORMAT = 1
MAX_CATALOGUE = 16 * 1024 * 1024
"""Most bytes of a catalogue: enough for about 40,000 versions."""
TRIES = 60
"""How often a change is tried if other writers were faster."""


class _Known(BaseModel):
    """A model that never converts values and keeps the fields of newer programs."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class ModelEntry(_Known):
    """A model whose vectors a version holds."""

    name: Line
    key: Slug
    dimension: Annotated[int, Field(ge=1, le=65_536)]


class Version(_Known):
    """A version of a pack: its time of publication (UTC, as 2026-01-01T00:00:00Z), its size and its contents."""

    version: Hex64
    published_at: Annotated[str, Field(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\z")]
    size: Number
    documents: Number
    backup_bytes: Number
    models: Annotated[list[ModelEntry], Field(max_length=100), First]


class PackEntry(_Known):
    """A source with its versions, newest first."""

    source: Annotated[str, Field(max_length=63)]
    name: Line
    license: Line
    versions: Annotated[list[Version], Field(min_length=1, max_length=1_000), First]


class Catalogue(_Known):
    """The catalogue; ``written_by`` is unique for each write."""

    format: Annotated[int, Field(ge=1)] = FORMAT
    packs: Annotated[list[PackEntry], Field(max_length=100_000), First] = []
    written_by: Annotated[str, Field(max_length=100)] = ""

    def find(self, source_id: str) -> PackEntry | None:
        """The entry of a source; None if there is none."""
        return next((pack for pack in self.packs if pack.source == source_id), None)

    def encode(self) -> bytes:
        """Encode the catalogue as a file."""
        return (json.dumps(self.model_dump(), ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def describe_version(manifest: Manifest, published: datetime) -> Version:
    """Make a version's entry in the catalogue."""
    return Version(
        version=name_version(manifest.encode()),
        published_at=published.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        size=manifest.size,
        documents=manifest.documents.records,
        backup_bytes=0 if manifest.backup is None else manifest.backup.bytes,
        models=[ModelEntry(name=one.name, key=one.key, dimension=one.dimension) for one in manifest.models],
    )


def read_catalogue(bucket: Bucket) -> tuple[Catalogue | None, str | None]:
    """Read the catalogue of a store and its tag; None for both if there is no catalogue.

    Raises UnavailableError if the catalogue is damaged, too large, or newer than this program.
    """
    content = bucket.read(CATALOGUE, MAX_CATALOGUE)
    if content is None:
        return None, None
    if len(content.data) > MAX_CATALOGUE:
        raise _damaged(bucket, f"it has more than {MAX_CATALOGUE:,} bytes")
    try:
        values = load(content.data)
        if isinstance(values, dict) and isinstance(values.get("format"), int) and values["format"] > FORMAT:
            raise UnavailableError(
                f"{bucket.label}/{CATALOGUE} has format {values['format']}, this program knows {FORMAT}",
                "Upgrade kbjobs.",
            )
        catalogue = Catalogue.model_validate(values)
        _check(catalogue)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step)[:100] for step in first["loc"])
        raise _damaged(bucket, f"{place}: {first['msg']}") from None
    except ValueError as error:
        raise _damaged(bucket, str(error)) from None
    return catalogue, content.tag


def _check(catalogue: Catalogue) -> None:
    names = [pack.source for pack in catalogue.packs]
    if len(set(names)) < len(names):
        raise ValueError("a source is in it twice")
    for name in names:
        try:
            check_source_id(name)
        except UsageError as error:
            raise ValueError(error.message) from None


def _damaged(bucket: Bucket, what: str) -> UnavailableError:
    return UnavailableError(
        f"{bucket.label}/{CATALOGUE} is damaged: {what}",
        f"kbjobs pack prune {bucket.label} --rebuild-catalogue rebuilds it from the packs in the store.",
    )


def change_catalogue(
    bucket: Bucket, change: Callable[[Catalogue], Catalogue], check: Callable[[], None] = lambda: None
) -> Catalogue:
    """Change the catalogue of a store safely, even if others change it too; returns the catalogue written.

    Args:
        bucket: the store.
        change: turns the catalogue that was read into the new one; may be called several times.
        check: called between the tries; may raise to stop.
    """
    for tries in range(TRIES):
        check()
        with bucket.locked(CATALOGUE):
            there, tag = read_catalogue(bucket)
            changed = change(there or Catalogue())
            if there is not None and changed == there:
                return there
            token = secrets.token_hex(16)
            written = changed.model_copy(update={"written_by": token})
            data = written.encode()
            if len(data) > MAX_CATALOGUE:
                raise UnavailableError(
                    f"{bucket.label}/{CATALOGUE} would become larger than the {MAX_CATALOGUE:,} bytes that are read",
                    "Use another store for some of the sources.",
                )
            if bucket.put_new(CATALOGUE, data) if there is None else bucket.put_over(CATALOGUE, data, tag):
                return written
            # If the reply to our own write was lost, its repetition was refused.
            now, _ = read_catalogue(bucket)
            if now is not None and now.written_by == token:
                return now
        time.sleep(random.uniform(0.0, min(2.0, 0.02 * 1.5**tries)))  # noqa: S311 — spreads colliding writers
    raise UnavailableError(f"other programs kept changing {bucket.label}/{CATALOGUE} at the same time", "Try again.")


def change_without_conditions(
    bucket: Bucket, change: Callable[[Catalogue], Catalogue], is_done: Callable[[Catalogue], bool]
) -> Catalogue:
    """As :func:`change_catalogue`, in a store that ignores conditions: write, read back, and repeat if needed.

    If two writers act at the same moment, one's change may still be lost.

    Args:
        bucket: the store.
        change: turns the catalogue that was read into the new one; may be called several times.
        is_done: whether a catalogue contains the change.

    Raises:
        UnavailableError: other writers kept overwriting the change.
    """
    for tries in range(TRIES):
        there, _ = read_catalogue(bucket)
        written = change(there or Catalogue()).model_copy(update={"written_by": secrets.token_hex(16)})
        bucket.put(CATALOGUE, written.encode())
        time.sleep(random.uniform(0.05, 0.2 + 0.02 * tries))  # noqa: S311 — another writer may overwrite it just now
        now, _ = read_catalogue(bucket)
        if now is not None and is_done(now):
            return now
    raise UnavailableError(f"other programs kept changing {bucket.label}/{CATALOGUE} at the same time", "Try again.")


def with_version(catalogue: Catalogue, manifest: Manifest, version: Version, keep: int) -> Catalogue:
    """Add a version to a catalogue as the newest of its source.

    Args:
        catalogue: the catalogue, which is not changed.
        manifest: the version's manifest.
        version: the version's entry.
        keep: the largest number of versions of the source to keep in the catalogue.
    """
    there = catalogue.find(manifest.source.id)
    older = [one for one in there.versions if one.version != version.version] if there is not None else []
    entry = PackEntry(
        source=manifest.source.id,
        name=manifest.source.name,
        license=manifest.source.license,
        versions=[version, *older][:keep],
    )
    others = [pack for pack in catalogue.packs if pack.source != entry.source]
    return catalogue.model_copy(update={"packs": sorted([*others, entry], key=lambda pack: pack.source)})


def publish_version(
    bucket: Bucket,
    manifest: Manifest,
    version: Version,
    keep: int,
    keeps_conditions: bool,
    check: Callable[[], None] = lambda: None,
) -> list[Version]:
    """Add a version, whose manifest is stored already, to the catalogue; returns the versions dropped from it.

    Args:
        bucket: the store.
        manifest: the version's manifest.
        version: the version's entry in the catalogue.
        keep: the largest number of versions of the source to keep in the catalogue.
        keeps_conditions: whether the store obeys conditions on writes.
        check: called between tries; may raise to stop.
    """
    dropped: list[Version] = []

    def change(catalogue: Catalogue) -> Catalogue:
        there = catalogue.find(manifest.source.id)
        if there is not None and there.versions[0].version == version.version:
            dropped[:] = there.versions[keep:]
            if not dropped:
                return catalogue  # the same state was published before
        changed = with_version(catalogue, manifest, version, keep)
        kept = {one.version for pack in changed.packs if pack.source == manifest.source.id for one in pack.versions}
        dropped[:] = [one for one in there.versions if one.version not in kept] if there is not None else []
        return changed

    def is_done(catalogue: Catalogue) -> bool:
        entry = catalogue.find(manifest.source.id)
        return entry is not None and entry.versions[0].version == version.version

    if keeps_conditions:
        change_catalogue(bucket, change, check)
    else:
        change_without_conditions(bucket, change, is_done)
    return dropped


def find_version(bucket: Bucket, source_id: str, wanted: str | None = None) -> Version:
    """Find a version of a source in a store's catalogue.

    Args:
        bucket: the store.
        source_id: the source's id.
        wanted: the start of the version's name; None for the newest version.

    Raises:
        NotFoundError: there is no catalogue, source or version, or several versions match.
    """
    catalogue, _ = read_catalogue(bucket)
    if catalogue is None:
        raise NotFoundError(f"{bucket.label} has no {CATALOGUE}: it is not a store of packs", "Check the address.")
    entry = catalogue.find(source_id)
    if entry is None:
        from difflib import get_close_matches

        names = [pack.source for pack in catalogue.packs]
        near = get_close_matches(source_id, names, 1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise NotFoundError(
            f"{bucket.label} has no pack of a source {source_id!r}",
            f"{hint}kbjobs sources list --remote --from {bucket.label}",
        )
    if wanted is None:
        return entry.versions[0]
    found = [one for one in entry.versions if one.version.startswith(wanted)]
    if len(found) != 1:
        there = ", ".join(one.version[:12] for one in entry.versions)
        raise NotFoundError(f"{bucket.label} has no version {wanted!r} of {source_id}", f"It has {there}.")
    return found[0]


def list_manifests(bucket: Bucket) -> dict[str, datetime]:
    """The names of all manifests in a store, and the time at which each was written."""
    return {
        entry.name: entry.modified
        for entry in bucket.list("packs/")
        if entry.name.endswith("/manifest.json") and entry.name.count("/") == 3
    }


def version_name(source_id: str, version: Version) -> str:
    """The name of a version's manifest in a store."""
    return manifest_name(source_id, version.version)


def as_rows(catalogue: Catalogue) -> list[dict[str, Any]]:
    """The newest version of each source, as JSON values."""
    return [
        {
            "source": pack.source,
            "name": pack.name,
            "license": pack.license,
            **pack.versions[0].model_dump(),
            "versions": len(pack.versions),
        }
        for pack in catalogue.packs
    ]
