"""Reading a pack. Nothing in it is trusted: each part is checked against its hash before it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.fields import Model, parse
from kbjobs.packs.json_lines import load, split_lines
from kbjobs.packs.manifest import MAX_MANIFEST, ModelVectors, PackedProfile, Part, Table, name_version, read_manifest
from kbjobs.packs.parts import unseal
from kbjobs.packs.places import Place, find_place
from kbjobs.packs.records import DocumentRecord, FileRecord, LinkRecord, MetadataRecord, PassageRecord, TextRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class VectorBlock:
    """Vectors (rows of float32, of unit length), and the hash of each vector's text."""

    text_hashes: list[str]
    rows: NDArray[np.float32]


class Pack:
    """A pack to read; its ``version`` is the hash of its manifest. Use it as a context.

    The records of a table come in its order, checked one by one. Every method raises DamagedPackError for anything that
    violates docs/reference/pack-format.md, and passes on the errors of the place that the pack is read from.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        text = place.read(place.manifest, MAX_MANIFEST)
        if len(text) > MAX_MANIFEST:
            raise self._damaged(place.manifest, f"has more than the {MAX_MANIFEST:,} bytes it may have")
        self.version = name_version(text)
        self.manifest = read_manifest(text, place.label, place.manifest)
        self._check_name()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.place.close()

    def documents(self) -> Iterator[DocumentRecord]:
        """The documents, in order of id."""
        return self._records(DocumentRecord, "documents", self.manifest.documents, lambda one: one.doc_id)

    def metadata(self) -> Iterator[MetadataRecord]:
        """The metadata, in order of the documents' ids."""
        return self._records(MetadataRecord, "metadata", self.manifest.metadata, lambda one: one.doc_id)

    def links(self) -> Iterator[LinkRecord]:
        """The links, in order of document, address and target."""
        for link in self._records(
            LinkRecord, "links", self.manifest.links, lambda one: (one.doc_id, one.url or "", one.target or "")
        ):
            if link.url is None and link.target is None:
                raise self._damaged("links", f"has one of {link.doc_id} that leads nowhere")
            yield link

    def passages(self, profile: PackedProfile) -> Iterator[PassageRecord]:
        """The passages of a profile, in order of document and ordinal; the hash of each text is checked."""
        name = f"passages of {profile.name}"
        for passage in self._records(PassageRecord, name, profile.passages, lambda one: (one.doc_id, one.ordinal)):
            if hashlib.sha256(passage.text.encode()).hexdigest()[:32] != passage.text_hash:
                raise self._damaged(name, f"has a text in {passage.doc_id} whose hash is another one")
            yield passage

    def vectors(self, model: ModelVectors) -> Iterator[VectorBlock]:
        """The vectors of a model, block by block; each text has one vector."""
        from kbjobs.packs.vector_rows import read_rows

        seen: set[bytes] = set()
        for block in model.blocks:
            lines = self._lines(TextRecord, f"texts of {model.key}", block.texts)
            hashes = [record.text_hash for record in lines]
            if len(hashes) != block.rows:
                raise self._damaged(
                    block.texts.name, f"has {len(hashes):,} texts, not the {block.rows:,} of the manifest"
                )
            seen.update(map(bytes.fromhex, hashes))
            try:
                rows = read_rows(self.read_part(block.vectors), block.rows, model.dimension)
            except ValueError as error:
                raise self._damaged(block.vectors.name, str(error)) from error
            yield VectorBlock(hashes, rows)
        if len(seen) != model.vectors:
            raise self._damaged(f"texts of {model.key}", "has a text twice")

    def files(self) -> Iterator[FileRecord]:
        """The files of the backup, if any, in order of name. See :mod:`kbjobs.packs.backup_unpacking`."""
        backup = self.manifest.backup
        return iter(()) if backup is None else self._records(FileRecord, "files", backup.files, lambda one: one.name)

    def read_part(self, part: Part) -> bytes:
        """Read and unpack a part."""
        data = self.place.whole.read(part) if self.place.whole.has(part) else None
        return unseal(part, self.place.read(part.name, part.size) if data is None else data, self.place.label)

    def _records(self, kind: type[Model], name: str, table: Table, order: Callable[[Model], Any]) -> Iterator[Model]:
        count = 0
        last: Any = None
        for part in table.parts:
            for record in self._lines(kind, name, part):
                key = order(record)
                if last is not None and key <= last:
                    raise self._damaged(part.name, f"({name}) has {key!r} twice, or not in order")
                last = key
                count += 1
                yield record
        if count != table.records:
            raise self._damaged(name, f"has {count:,} records, not the {table.records:,} of the manifest")

    def _lines(self, kind: type[Model], name: str, part: Part) -> Iterator[Model]:
        done = 0
        try:
            for line in split_lines(self.read_part(part)):
                yield parse(kind, load(line), self.manifest.minor)
                done += 1
        except ValueError as error:
            raise self._damaged(part.name, f"({name}), line {done + 1:,}: {error}") from error

    def _check_name(self) -> None:
        """Check a manifest in a store against its name, its source and hash, which reveals a cut or changed one."""
        folders = self.place.manifest.split("/")[1:-1]
        if folders and folders != [self.manifest.source.id, self.version]:
            raise self._damaged(
                self.place.manifest,
                f"is of source {self.manifest.source.id} and has the hash {self.version}: it was changed or moved",
            )

    def _damaged(self, name: str, what: str) -> DamagedPackError:
        return DamagedPackError(self.place.label, name, what)


def open_pack(where: str) -> Pack:
    """Open the pack that a user names; use it as a context. See :func:`kbjobs.packs.places.find_place`."""
    place = find_place(where)
    try:
        return Pack(place)
    except BaseException:
        place.close()
        raise
