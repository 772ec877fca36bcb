"""Turning folders of the system before kbjobs into packs.

Such a folder holds a source as ``_manifest.json``, ``_metadata.json``, ``_index.json`` and one file of vectors per
dimension. Documents and vectors are keyed by that system's ids; each document has one vector, for its whole text. The
files are read as streams and not trusted: content that cannot be in a pack is cut, left out or refused.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

from kbjobs.content.document import clean_text, clean_title, document_id
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.fields import MINOR
from kbjobs.packs.json_lines import load
from kbjobs.packs.manifest import FORMAT, Manifest, ModelVectors, PackedBlock, PackedProfile, SourceDescription, Table
from kbjobs.packs.parts import SealedPart, is_cut_behind, seal
from kbjobs.packs.public import public_base, public_text, public_url
from kbjobs.packs.records import DocumentRecord, LinkRecord, MetadataRecord, PassageRecord, TextRecord
from kbjobs.packs.tables import TableWriter

MANIFEST = "_manifest.json"
METADATA = "_metadata.json"
INDEX = "_index.json"
VECTORS = {1536: "_vectors.json", **{number: f"_vectors_{number}.json" for number in (384, 768, 1024)}}
"""The files of vectors by dimension."""
FILES = (MANIFEST, METADATA, INDEX, *VECTORS.values(), "_vectors_1536.json")
MAX_BYTES = 8 << 30
"""Most bytes of one file: enough for about 200,000 documents with 1,536 numbers each."""
MAX_DOCUMENTS = 1_000_000
MAX_TEXT = 500_000
"""Most characters of a text; the rest is cut off."""
MAX_LISTED = 1_000
PROFILE = "documents 8192 1"
READER = "former"
NUMBERS = 1 << 16
"""Most numbers of a vector."""

FindKey = Callable[[str], tuple[str, str] | None]
"""Finds the name and key of a model by the folder's name for it; None if this machine does not have the model."""


class LegacyFolder:
    """Builds a pack from a legacy folder; use it as a context.

    Args:
        folder: the folder that holds the files.
        source_id: the source's id here; the legacy id may be invalid.
        find_key: finds the model that made the vectors.
        check: called often; may raise to stop.
    Raises:
        DamagedPackError: a file is missing, cut, or invalid.
    """

    def __init__(self, folder: Path, source_id: str, find_key: FindKey, check: Callable[[], None]) -> None:
        self._folder, self._id = folder, source_id
        self._find_key, self._check = find_key, check
        self._stack = ExitStack()
        self._texts: dict[str, tuple[int, int]] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._manifest: Manifest | None = None
        self.left_out: list[str] = []
        """Models that this machine lacks. Their vectors are left out, because their identity cannot be checked."""

    def __enter__(self) -> Self:
        self._spool: IO[bytes] = self._stack.enter_context(tempfile.TemporaryFile())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def manifest(self) -> Manifest:
        """The manifest, available after all parts were taken."""
        assert self._manifest is not None  # noqa: S101
        return self._manifest

    def parts(self) -> Iterator[SealedPart]:
        """Yield every part; the caller stores each before it takes the next."""
        described = self._read_manifest()
        self._read_documents()
        ids = sorted(self._facts, key=self._name)
        documents = yield from self._table(self._document(one) for one in ids)
        metadata = yield from self._table(self._metadata(one) for one in ids)
        links = yield from self._table(link for one in ids for link in self._links(one))
        passages = yield from self._table(self._passage(one) for one in ids if one in self._texts)
        models: list[ModelVectors] = []
        for dimension, name in [*VECTORS.items(), (1536, "_vectors_1536.json")]:
            if (self._folder / name).is_file():
                found = yield from self._model(name, dimension)
                if found is not None and found.key not in {model.key for model in models}:
                    models.append(found)
        languages = {}
        language = described.get("language")
        if isinstance(language, str) and language.isalpha() and 2 <= len(language) <= 3:
            languages[language.lower()] = len(ids)
        tags = described.get("tags")
        self._manifest = Manifest(
            format=FORMAT,
            minor=MINOR,
            source=SourceDescription(
                id=self._id,
                name=_line(described.get("name")),
                license=_line(described.get("license")),
                base_url=public_base(str(described.get("base_url") or "")),
                tags=[_line(tag) for tag in tags if isinstance(tag, str)][:100] if isinstance(tags, list) else [],
            ),
            languages=languages,
            facts={},
            filtered=0,
            documents=documents,
            metadata=metadata,
            links=links,
            profiles=[PackedProfile(name=PROFILE, passages=passages)] if models else [],
            models=models,
            backup=None,
        )

    # -- reading ----------------------------------------------------------------------------------

    def _read_manifest(self) -> dict[str, Any]:
        with self._open(MANIFEST) as file:
            text = file.read(4 << 20)
        try:
            values = load(text)
        except ValueError as error:
            raise self._damaged(MANIFEST, f"cannot be read: {error}") from None
        if not isinstance(values, dict):
            raise self._damaged(MANIFEST, "is no JSON object")
        return values

    def _read_documents(self) -> None:
        """Merge what both files say of each document; the texts go into a temporary file."""
        if (self._folder / METADATA).is_file():
            for name, values in self._items(METADATA, "documents"):
                self._facts[name] = values
        for name, values in self._items(INDEX, "documents"):
            content = values.pop("content", "")
            self._facts[name] = {**values, **self._facts.get(name, {})}
            if isinstance(content, str) and content.strip():
                text = clean_text(content[:MAX_TEXT]).encode()
                self._texts[name] = (self._spool.tell(), len(text))
                self._spool.write(text)
            if len(self._facts) > MAX_DOCUMENTS:
                raise self._damaged(INDEX, f"has more than {MAX_DOCUMENTS:,} documents")

    def _items(self, name: str, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
        import ijson

        with self._open(name) as file:
            try:
                for number, (item, values) in enumerate(ijson.kvitems(file, key, use_float=True)):
                    if number % 500 == 0:
                        self._check()
                    if isinstance(item, str) and item and isinstance(values, dict):
                        yield item, values
            except (ijson.JSONError, UnicodeDecodeError, RecursionError) as error:
                raise self._damaged(name, f"cannot be read: {' '.join(str(error).split())[:200]}") from None

    def _vectors(self, name: str, dimension: int) -> Iterator[tuple[str, list[float]]]:
        """Yield the vectors of a file; a vector beyond the maximum length is refused before it fills the memory."""
        import ijson

        with self._open(name) as file:
            item, is_inside = "", False
            numbers: list[float] = []
            try:
                for place, event, value in ijson.parse(file, use_float=True):
                    if place == "vectors" and event == "map_key":
                        item, numbers, is_inside = str(value), [], True
                        self._check()
                    elif is_inside and event == "number":
                        numbers.append(float(value))
                        if len(numbers) > NUMBERS:
                            raise self._damaged(name, f"has a vector of more than {NUMBERS:,} numbers")
                    elif is_inside and event == "end_array":
                        if len(numbers) != dimension:
                            raise self._damaged(name, f"has a vector of {len(numbers):,} numbers, not {dimension:,}")
                        yield item, numbers
                        is_inside = False
            except (ijson.JSONError, UnicodeDecodeError, OverflowError) as error:
                raise self._damaged(name, f"cannot be read: {' '.join(str(error).split())[:200]}") from None

    def _model_name(self, name: str) -> str:
        """The name of the model that made the vectors, which stands before them in the file."""
        import ijson

        with self._open(name) as file:
            try:
                for place, event, value in ijson.parse(file, use_float=True):
                    if place == "embedding_model" and event == "string":
                        return str(value)
                    if place == "vectors":
                        break
            except (ijson.JSONError, UnicodeDecodeError) as error:
                raise self._damaged(name, f"cannot be read: {' '.join(str(error).split())[:200]}") from None
        raise self._damaged(name, "does not say which model made its vectors")

    def _open(self, name: str) -> IO[bytes]:
        path = self._folder / name
        if path.is_symlink() or not path.is_file():
            raise self._damaged(name, "is missing")
        if path.stat().st_size > MAX_BYTES:
            raise self._damaged(name, f"has more than {MAX_BYTES:,} bytes")
        return path.open("rb")

    # -- records ----------------------------------------------------------------------------------

    def _name(self, item: str) -> str:
        return document_id(self._id, _path(item))

    def _document(self, item: str) -> DocumentRecord:
        facts = self._facts[item]
        text = self._text(item)
        return DocumentRecord(
            doc_id=self._name(item),
            path=_path(item),
            url=public_url(str(facts.get("url") or "")),
            title=_line(facts.get("title")) or item[:100],
            language=None,
            content_hash=hashlib.sha256(text.encode()).hexdigest(),
            words=len(text.split()),
            reader=READER,
            filtered=False,
        )

    def _metadata(self, item: str) -> MetadataRecord:
        facts = self._facts[item]
        text = self._text(item)
        categories = facts.get("categories")
        if isinstance(categories, str):  # a list written as a text
            try:
                categories = json.loads(categories)
            except (ValueError, RecursionError):
                categories = []
        named = [one for one in categories if isinstance(one, str)] if isinstance(categories, list) else []
        return MetadataRecord(
            doc_id=self._name(item),
            language=None,
            snippet=clean_title(text[:600])[:300],
            characters=len(text),
            heading_count=0,
            headings=[],
            description="",
            published="",
            authors=[],
            categories=[_line(one) for one in named[:MAX_LISTED]],
            kind="",
        )

    def _links(self, item: str) -> list[LinkRecord]:
        found = self._facts[item].get("internal_links")
        links = found if isinstance(found, list) else []
        urls = {url for one in links[: 10 * MAX_LISTED] if isinstance(one, str) and (url := public_url(one))}
        return [LinkRecord(doc_id=self._name(item), url=url, target=None) for url in sorted(urls)]

    def _passage(self, item: str) -> PassageRecord:
        text = self._passage_text(item)
        return PassageRecord(
            doc_id=self._name(item),
            ordinal=0,
            text=text,
            text_hash=_hash(text),
            tokens=len(text) // 4,
            page=0,
        )

    def _passage_text(self, item: str) -> str:
        return f"{_line(self._facts[item].get('title')) or item[:100]}\n{self._text(item)}"

    def _text(self, item: str) -> str:
        start, size = self._texts.get(item, (0, 0))
        self._spool.seek(start)
        return self._spool.read(size).decode()

    # -- tables -----------------------------------------------------------------------------------

    def _table(self, records: Iterator[Any]) -> Generator[SealedPart, None, Table]:
        writer = TableWriter(lambda size: self._check())
        for record in records:
            yield from writer.add(record)
        yield from writer.finish()
        return writer.table

    def _model(self, name: str, dimension: int) -> Generator[SealedPart, None, ModelVectors | None]:
        label = self._model_name(name)
        found = self._find_key(label)
        if found is None:
            self.left_out.append(clean_title(label))
            return None
        import numpy as np

        order: list[tuple[str, int]] = []
        seen: set[str] = set()
        with tempfile.TemporaryFile() as rows:
            for item, numbers in self._vectors(name, dimension):
                if item not in self._texts:
                    continue  # its document is missing or has no text
                vector = np.asarray(numbers, "<f8")
                with np.errstate(over="ignore"):  # refused below
                    length = float(np.linalg.norm(vector))
                if not np.isfinite(length) or length == 0:
                    raise self._damaged(name, f"has a vector of {item[:60]!r} that is not finite, or zero")
                text_hash = _hash(self._passage_text(item))
                if text_hash not in seen:
                    seen.add(text_hash)
                    order.append((text_hash, len(order)))
                    rows.write((vector / length).astype("<f4").tobytes())
            blocks = yield from self._blocks(rows, sorted(order), dimension)
        model_name, key = found
        return ModelVectors(key=key, name=model_name, dimension=dimension, profile=0, vectors=len(order), blocks=blocks)

    def _blocks(
        self, rows: IO[bytes], order: list[tuple[str, int]], dimension: int
    ) -> Generator[SealedPart, None, list[PackedBlock]]:
        blocks: list[PackedBlock] = []
        texts: list[str] = []
        vectors: list[bytes] = []
        size = 4 * dimension
        for number, (text_hash, row) in enumerate(order):
            rows.seek(row * size)
            texts.append(text_hash)
            vectors.append(rows.read(size))
            if is_cut_behind(text_hash.encode(), size, size * len(texts)) or number == len(order) - 1:
                yield from self._block(texts, vectors, dimension, blocks)
                texts, vectors = [], []
        return blocks

    def _block(
        self, texts: list[str], vectors: list[bytes], dimension: int, blocks: list[PackedBlock]
    ) -> Iterator[SealedPart]:
        from kbjobs.packs.vector_rows import write_rows

        writer = TableWriter(lambda size: self._check(), is_one_part=True)
        for text_hash in texts:
            yield from writer.add(TextRecord(text_hash=text_hash))
        yield from writer.finish()
        sealed = seal(write_rows(vectors, dimension), is_packed=False)
        yield sealed
        blocks.append(PackedBlock(rows=len(texts), texts=writer.table.parts[0], vectors=sealed.part))

    def _damaged(self, name: str, what: str) -> DamagedPackError:
        return DamagedPackError(str(self._folder), name, what)


def _path(item: str) -> str:
    """The path within the source for a legacy document id."""
    name = item if len(item) <= 500 else hashlib.sha256(item.encode("utf-8", "surrogatepass")).hexdigest()
    return "documents/" + quote(name, safe="", errors="replace")


def _line(value: object) -> str:
    return public_text(value)[:2_000] if isinstance(value, str) else ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
