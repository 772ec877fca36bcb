"""Building a pack: a snapshot of a source, part by part, and then the manifest.

At most a part or two are in memory at any time. The same state gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from kbjobs.errors import MissingRequirementError, UnavailableError
from kbjobs.packs.backup_files import list_files
from kbjobs.packs.backup_parts import build_backup
from kbjobs.packs.fields import MINOR, Model, parse
from kbjobs.packs.manifest import FORMAT, Manifest, ModelVectors, PackedBlock, PackedProfile, SourceDescription, Table
from kbjobs.packs.parts import SealedPart, is_cut_behind, seal
from kbjobs.packs.public import public_base, public_model, public_text, public_url
from kbjobs.packs.records import DocumentRecord, LinkRecord, MetadataRecord, PassageRecord, TextRecord
from kbjobs.packs.tables import TableWriter
from kbjobs.packs.vector_rows import write_rows
from kbjobs.store.ledger import Ledger
from kbjobs.store.pack_export import PackedLedger, PackedModel
from kbjobs.store.sources import SourceFolder


class PackBuilder:
    """Builds the pack of a source; use it as a context, which holds a snapshot of the ledger.

    Args:
        folder: the source.
        include_backup: whether the source's files go into the pack.
        check: called before every part; may raise to stop.
    Raises:
        NotFoundError: there is no such source, or with ``include_backup`` one of its paths cannot be reached.
        MissingRequirementError: no job has read the source yet.
    """

    def __init__(
        self, folder: SourceFolder, include_backup: bool = False, check: Callable[[], None] = lambda: None
    ) -> None:
        self.source = folder.read()
        if not folder.ledger.exists():
            raise MissingRequirementError(
                f"source {folder.id!r} was never read: there is nothing to pack",
                f"kbjobs run index-offline {folder.id}",
            )
        self._check = check
        self._files = list_files(folder, self.source) if include_backup else None
        self._ledger = Ledger(folder.ledger)
        self._packed = PackedLedger(self._ledger)
        self.expected_bytes = 0
        """Approximate number of bytes to read."""
        self.done_bytes = 0
        """Bytes read so far."""
        self._manifest: Manifest | None = None

    def __enter__(self) -> Self:
        try:
            self._packed.__enter__()
            self._models = self._packed.models()
            self._counts = self._packed.counts(self._models)
            self.expected_bytes = self._counts.bytes + (self._files.count_bytes() if self._files else 0)
        except BaseException:
            self._ledger.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._packed.__exit__(kind, error, trace)
        finally:
            self._ledger.close()

    @property
    def unseen(self) -> list[tuple[str, str]]:
        """Files that the backup lacks because they cannot be read, each with the reason."""
        return [] if self._files is None else self._files.unseen

    @property
    def manifest(self) -> Manifest:
        """The manifest, available after all parts were taken."""
        if self._manifest is None:
            raise RuntimeError("the manifest is made once all parts were taken")
        return self._manifest

    def parts(self) -> Iterator[SealedPart]:
        """Yield every part; the caller stores each before it takes the next. A part may come twice.

        Raises:
            UnavailableError: the ledger holds values that cannot be in a pack, or a file cannot be read.
            ConflictError: a file was changed while it was read.
        """
        documents = yield from self._table(DocumentRecord, map(_document, self._packed.documents()))
        metadata = yield from self._table(MetadataRecord, map(_metadata, self._packed.metadata()))
        links = yield from self._table(LinkRecord, _links(self._packed.links()))
        numbers: dict[int, int] = {}  # the profiles' indexes in the pack, by their ids in the ledger
        profiles: list[PackedProfile] = []
        for model in self._models:
            if model.row.profile not in numbers:
                numbers[model.row.profile] = len(profiles)
                passages = yield from self._table(PassageRecord, self._packed.passages(model.row.profile))
                profiles.append(PackedProfile(name=model.profile, passages=passages))
        models = []
        for model in self._models:
            blocks = yield from self._blocks(model)
            models.append(
                ModelVectors(
                    key=model.row.key,
                    name=public_model(model.row.name),
                    dimension=model.row.dimension,
                    profile=numbers[model.row.profile],
                    vectors=sum(block.rows for block in blocks),
                    blocks=blocks,
                )
            )
        backup = None if self._files is None else (yield from build_backup(self._files, self._count_read))
        self._manifest = Manifest(
            format=FORMAT,
            minor=MINOR,
            source=SourceDescription(
                id=self.source.id,
                name=public_text(self.source.name),
                license=public_text(self.source.license),
                base_url=public_base(self.source.base_url),
                tags=[public_text(tag) for tag in self.source.tags],
            ),
            languages=self._packed.languages(),
            facts=self._packed.facts(),
            filtered=self._counts.filtered,
            documents=documents,
            metadata=metadata,
            links=links,
            profiles=profiles,
            models=models,
            backup=backup,
        )

    def _count_read(self, read: int) -> None:
        self.done_bytes += read
        self._check()

    def _table(self, kind: type[Model], rows: Iterable[dict[str, Any]]) -> Generator[SealedPart, None, Table]:
        """Yield the parts of a table, and return the table."""
        writer = TableWriter(self._count_read)
        for row in rows:
            try:
                record = parse(kind, row, MINOR)
            except ValueError as error:
                raise self._unfit(f"{row['doc_id']}: {error}") from error
            yield from writer.add(record)
        yield from writer.finish()
        return writer.table

    def _blocks(self, model: PackedModel) -> Generator[SealedPart, None, list[PackedBlock]]:
        """Yield the parts of a model's vectors, and return their blocks."""
        blocks: list[PackedBlock] = []
        texts: list[str] = []
        vectors: list[bytes] = []
        size = 4 * model.row.dimension
        for text_hash, vector in self._packed.vectors(model.row):
            texts.append(text_hash)
            vectors.append(vector)
            if is_cut_behind(text_hash.encode(), size, size * len(texts)):
                yield from self._block(model, texts, vectors, blocks)
                texts, vectors = [], []
        if texts:
            yield from self._block(model, texts, vectors, blocks)
        return blocks

    def _block(
        self, model: PackedModel, texts: list[str], vectors: list[bytes], blocks: list[PackedBlock]
    ) -> Iterator[SealedPart]:
        writer = TableWriter(self._count_read, is_one_part=True)
        for text_hash in texts:
            yield from writer.add(TextRecord(text_hash=text_hash))
        yield from writer.finish()
        try:
            rows = write_rows(vectors, model.row.dimension)
        except ValueError as error:
            raise self._unfit(f"{model.row.key}: {error}") from error
        self._count_read(len(rows))
        sealed = seal(rows, is_packed=False)  # their bits are nearly random: zstd saves only a tenth
        yield sealed
        blocks.append(PackedBlock(rows=len(texts), texts=writer.table.parts[0], vectors=sealed.part))

    def _unfit(self, what: str) -> UnavailableError:
        return UnavailableError(
            f"source {self.source.id!r} has something that cannot be in a pack: {what}",
            f"kbjobs sources verify {self.source.id} tells whether its ledger is damaged. Nothing was published.",
        )


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "doc_id": row["doc_id"],
        "path": row["path"],
        "url": public_url(row["url"]),
        "title": row["title"],
        "language": row["language"],
        "content_hash": row["content_hash"],
        "words": row["word_count"],
        # Only the reader's version; the rest names the base URL or the folder of the files.
        "reader": row["pipeline"].partition(" ")[0],
        "filtered": bool(row["filtered"]),
    }


def _metadata(row: dict[str, Any]) -> dict[str, Any]:
    return {("kind" if name == "doc_type" else name): value for name, value in row.items()}


def _links(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The links in order of document, address and target, each once; links that lead nowhere are left out."""
    doc_id = ""
    links: set[tuple[str, str]] = set()
    for row in rows:
        if row["doc_id"] != doc_id:
            yield from _links_of(doc_id, links)
            doc_id, links = row["doc_id"], set()
        links.add((public_url(row["url"]) or "", row["target"] or ""))
    yield from _links_of(doc_id, links)


def _links_of(doc_id: str, links: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for url, target in sorted(links):
        if url or target:
            yield {"doc_id": doc_id, "url": url or None, "target": target or None}
