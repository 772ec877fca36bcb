"""The manifest of a pack: the source's description, its counts, and every part with its size and hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from kbjobs.errors import UnavailableError, UsageError
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.fields import MINOR, First, Hex64, Key, Line, Number, Slug, Strict, Tag, Web, parse
from kbjobs.packs.json_lines import dump, load
from kbjobs.store.sources import check_source_id

FORMAT = 1
"""Version of the format; a reader refuses any other."""
MAX_MANIFEST = 8 * 1024 * 1024
"""Most bytes of a manifest: enough for about 50,000 parts, or 400 GB."""
MAX_PART = 32 * 1024 * 1024
"""Most bytes of a part, packed or unpacked. Parts written here have at most about 20 MiB."""
MAX_RATIO = 250
"""Most times that a part may grow when unpacked, unless it stays below 1 MiB; zstd could reach 1:30,000."""
FREE_BYTES = 1024 * 1024

MANIFEST = "manifest.json"
Size = Annotated[int, Field(ge=1, le=MAX_PART)]


class Part(Strict):
    """A part: the hash and size of its stored bytes, and its unpacked size in bytes."""

    sha256: Hex64
    size: Size
    packing: Literal["zstd", "none"]
    unpacked: Size

    @property
    def name(self) -> str:
        """Its name below the root of a store."""
        return f"objects/{self.sha256}"


Parts = Annotated[list[Part], First]


class Table(Strict):
    """A table of records: the number of records, and the parts in order."""

    records: Number
    parts: Parts


class SourceDescription(Strict):
    """The public description of a source."""

    id: Annotated[str, Field(max_length=63)]
    name: Line
    license: Line
    base_url: Web | None
    tags: Annotated[list[Line], Field(max_length=1_000), First]


class PackedProfile(Strict):
    """A profile by its name in the ledger, and the passages that were cut for it."""

    name: Line
    passages: Table


class PackedBlock(Strict):
    """Some of a model's vectors: a part with the hashes of their texts, and one with the array in the same order."""

    rows: Annotated[int, Field(ge=1, le=MAX_PART)]
    texts: Part
    vectors: Part


class ModelVectors(Strict):
    """A model with its vectors; ``profile`` is the index of the profile whose passages they belong to."""

    key: Slug
    name: Line
    dimension: Annotated[int, Field(ge=1, le=65_536)]
    profile: Number
    vectors: Number
    blocks: Annotated[list[PackedBlock], First]


class PackedBackup(Strict):
    """The source's files; ``roots`` are the source's paths among them. ``case_sensitive``: some differ only in case."""

    roots: Annotated[list[Key], Field(max_length=10_000), First]
    bytes: Number
    case_sensitive: bool
    files: Table
    data: Parts


class Manifest(Strict):
    """The manifest of a pack."""

    format: Annotated[int, Field(ge=1)]
    minor: Number
    source: SourceDescription
    languages: dict[Tag, Number]
    facts: dict[Line, Annotated[str, Field(max_length=1_000_000)]]
    filtered: Number
    documents: Table
    metadata: Table
    links: Table
    profiles: Annotated[list[PackedProfile], Field(max_length=100), First]
    models: Annotated[list[ModelVectors], Field(max_length=100), First]
    backup: PackedBackup | None

    def parts(self, with_backup: bool = True) -> Iterator[Part]:
        """Yield every part in the order of the manifest; a part that is used twice comes twice."""
        for table in (self.documents, self.metadata, self.links, *(one.passages for one in self.profiles)):
            yield from table.parts
        for model in self.models:
            for block in model.blocks:
                yield block.texts
                yield block.vectors
        if self.backup is not None and with_backup:
            yield from self.backup.files.parts
            yield from self.backup.data

    @property
    def size(self) -> int:
        """The stored size of all parts in bytes, each part counted once."""
        return sum({part.sha256: part.size for part in self.parts()}.values())

    def encode(self) -> bytes:
        """Encode the manifest as a file; the same content gives the same bytes."""
        return dump(self.model_dump())


def name_version(text: bytes) -> str:
    """The version of a pack: the sha256 of its manifest."""
    return hashlib.sha256(text).hexdigest()


def manifest_name(source_id: str, version: str) -> str:
    """The name of a manifest below the root of a store."""
    return f"packs/{source_id}/{version}/{MANIFEST}"


def read_manifest(text: bytes, place: str, name: str = MANIFEST) -> Manifest:
    """Read a manifest, and check that it is consistent.

    Args:
        text: the file, of at most :data:`MAX_MANIFEST` bytes.
        place: where the pack is, for messages.
        name: the file's name there.

    Raises:
        DamagedPackError: it is not a valid manifest.
        UnavailableError: it has another format.
    """
    try:
        values = load(text)
        if not isinstance(values, dict):
            raise ValueError("is no JSON object")
        _check_format(values.get("format"), place, name)
        minor = values.get("minor")
        manifest = parse(Manifest, values, minor if isinstance(minor, int) else MINOR)
        _check(manifest)
    except ValueError as error:
        raise DamagedPackError(place, name, f"cannot be read: {error}") from error
    return manifest


def _check_format(version: object, place: str, name: str) -> None:
    if isinstance(version, bool) or not isinstance(version, int):
        raise ValueError("it has no format")
    if version != FORMAT:
        raise UnavailableError(
            f"{place}: {name} has format {version}, this program knows {FORMAT}",
            "Upgrade kbjobs. Nothing was changed." if version > FORMAT else "Nothing was changed.",
        )


def _check(manifest: Manifest) -> None:
    """Raise ValueError if the manifest contradicts itself."""
    try:
        check_source_id(manifest.source.id)
    except UsageError as error:
        raise ValueError(f"source.id: {error.message}") from None
    for part in manifest.parts():
        _check_sizes(part)
    if manifest.filtered > manifest.documents.records:
        raise ValueError("filtered: more than there are documents")
    for names in ([one.name for one in manifest.profiles], [one.key.lower() for one in manifest.models]):
        if len(set(names)) < len(names):
            raise ValueError("a profile or model stands in it twice")
    for model in manifest.models:
        if model.profile >= len(manifest.profiles):
            raise ValueError(f"model {model.key} is of a profile that is not there")
        if sum(block.rows for block in model.blocks) != model.vectors:
            raise ValueError(f"model {model.key} has not as many rows as vectors")


def _check_sizes(part: Part) -> None:
    if part.packing == "none" and part.unpacked != part.size:
        raise ValueError(f"{part.name} is not packed, and has two sizes")
    if part.unpacked > max(FREE_BYTES, part.size * MAX_RATIO):
        raise ValueError(f"{part.name}: {part.size:,} bytes would become {part.unpacked:,}")
