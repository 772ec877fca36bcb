"""Read one vector for each document of the sources, from their ledgers.

The vectors go to a nameless file that disappears with the process: those of 200,000 documents take 300 MB.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from kbjobs.context import Context
from kbjobs.errors import KbjobsError
from kbjobs.maps.foreign_texts import SNIPPET, TITLE, clean, cut, safe_url
from kbjobs.store import map_rows as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import IndexedModel
from kbjobs.store.tag_rows import passage_vectors

READ = 4_096  # vectors read at a time
BLOCK = 4_096  # documents per computation; a fixed size keeps sums identical on every run


@dataclass(frozen=True, slots=True)
class MappedSource:
    """A source on the map: the model whose vectors are used, and the state of the content shown."""

    id: str
    name: str
    ledger: Path
    model: IndexedModel
    state: str


@dataclass(slots=True)
class Documents:
    """The documents that have a vector, in the order of their vectors; ``sources`` are source numbers."""

    ids: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    snippets: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    left_out: int = 0
    """Documents without a vector."""


class VectorFile:
    """Vectors of one dimension, written once and read in blocks as often as needed."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self.dimension, self.count = dimension, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, rows: NDArray[np.float32]) -> None:
        """Append rows."""
        self._file.write(rows.astype("<f4").tobytes())
        self.count += len(rows)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield all rows from the first, one block at a time."""
        self._file.seek(0)
        while content := self._file.read(BLOCK * self.dimension * 4):
            yield np.frombuffer(content, "<f4").reshape(-1, self.dimension)


def choose_model(indexes: Sequence[tuple[str, Sequence[IndexedModel]]], preferred: str) -> str | None:
    """Choose the key of the model to draw by: the one that most sources have.

    Of several such models it is the preferred one, else the newest.

    Args:
        indexes: sources, each with the models that it has vectors of, in the order of their first use.
        preferred: the name of the model that searches use.
    """
    counts = Counter(model.key for _, models in indexes for model in models)
    names = {model.key: model.name for _, models in indexes for model in models}
    newest = {model.key: model.id for _, models in indexes for model in models}
    return max(counts, key=lambda key: (counts[key], names[key] == preferred, newest[key], key), default=None)


def gather(context: Context, sources: Sequence[MappedSource], vectors: VectorFile, span: float) -> Documents:
    """Read the sources' documents and write a vector for each: the direction of the mean of its passages.

    Args:
        context: the phase's context, for progress and the request to stop.
        sources: the sources, all with the same model.
        vectors: the file that the vectors are appended to.
        span: the part of the phase, from its start, that this takes.

    Raises:
        KbjobsError: a ledger holds vectors of another dimension than the model's.
        JobCancelled: the job was asked to stop.
    """
    documents = Documents()
    done = total = 0
    for source in sources:
        with Ledger(source.ledger) as ledger:
            total += store.count_mapped(ledger, source.model.id, source.model.profile)
    for number, source in enumerate(sources):
        with Ledger(source.ledger) as ledger:
            mapped = store.mapped_documents(ledger, source.model.profile)
            one = next(mapped, None)
            for ids, rows, read in _means(ledger, source):
                kept: list[int] = []
                for row, doc_id in enumerate(ids):
                    while one is not None and one.doc_id < doc_id:
                        documents.left_out += 1
                        one = next(mapped, None)
                    if one is None or one.doc_id != doc_id:
                        continue
                    if np.isfinite(rows[row, 0]):
                        kept.append(row)
                        _add(documents, one, number)
                    else:
                        documents.left_out += 1
                    one = next(mapped, None)
                vectors.add(rows[kept])
                done += read
                context.progress(done, total, "chunks", f"reading {source.id}", (0.0, span))
            documents.left_out += sum(1 for _ in mapped) + (one is not None)
    return documents


def _add(documents: Documents, one: store.MappedDocument, source: int) -> None:
    title = clean(one.title, TITLE)
    snippet = clean(one.snippet, SNIPPET + len(title) + 1)
    documents.ids.append(one.doc_id)
    documents.titles.append(title or one.doc_id)
    documents.urls.append(safe_url(one.url))
    documents.snippets.append(cut(snippet.removeprefix(title).lstrip(), SNIPPET))
    documents.languages.append(clean(one.language, 20))
    documents.sources.append(source)


def _means(ledger: Ledger, source: MappedSource) -> Iterator[tuple[list[str], NDArray[np.float32], int]]:
    """Yield ids of documents in order, their vectors (NaN if there is none), and how many passages were read."""
    model = source.model
    pairs = passage_vectors(ledger, model.id, model.profile)
    begun: tuple[str, NDArray[np.float64]] | None = None
    while batch := list(islice(pairs, READ)):
        content = b"".join(vector for _, vector in batch)
        if len(content) != 4 * model.dimension * len(batch):
            raise KbjobsError(
                f"the ledger of {source.id} has vectors of {model.name} that are not of {model.dimension} dimensions",
                f"Embed them again: kbjobs run clear-vectors {source.id} --dimension {model.dimension} --purge,"
                " then index the source again.",
            )
        rows = np.frombuffer(content, "<f4").reshape(-1, model.dimension).astype(np.float64)
        ids = [doc_id for doc_id, _ in batch]
        starts = [0, *(row for row in range(1, len(ids)) if ids[row] != ids[row - 1])]
        sums = np.add.reduceat(rows, starts, axis=0)
        names = [ids[start] for start in starts]
        if begun is not None:
            if begun[0] == names[0]:
                sums[0] += begun[1]
            else:
                names.insert(0, begun[0])
                sums = np.concatenate([begun[1][None], sums])
        begun = (names[-1], sums[-1])
        yield names[:-1], _directions(sums[:-1]), len(batch)
    if begun is not None:
        yield [begun[0]], _directions(begun[1][None]), 0


def _directions(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    usable = np.isfinite(lengths) & (lengths > 0)
    return np.where(usable, sums / np.where(usable, lengths, 1.0), np.nan).astype(np.float32)
