"""One ChromaDB collection, in a directory or on a server: explicit vectors, cosine space, upserts only.

In a directory, Chroma is not safe for several processes, and does not warn about it. A writer therefore opens the
directory after taking the source's lock, and closes it before releasing the lock; a reader opens it for each search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from kbjobs.errors import UnavailableError
from kbjobs.store.ledger_rows import Record
from kbjobs.system.closing import Closable
from kbjobs.vectors.hnsw_files import DATABASE, find_damage

COLLECTION_NAME = "passages"
# ef_search (default 100) is the number of candidates that a search keeps. With 100, a passage unlike a few hundred
# near-equal ones was missed in 13 of 20 collections, whatever M and ef_construction; with 500, in none.
CONFIGURATION = {"hnsw": {"space": "cosine", "ef_search": 500}}
BATCH = 250  # records per upsert; more are not faster, and other builds of Chroma allow fewer
PAGE = 5000  # records per read
PAGE_OF_IDS = 100_000  # ids per read: Chroma scans all ids before an offset, so small pages take quadratic time
REMEDY = "kbjobs sources rebuild ID makes it anew from the ledger, without embedding anything again."
NEAR = 1e-3  # a hit at a smaller cosine distance counts as the vector itself


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A passage found: its record id, cosine similarity, text and document."""

    id: str
    score: float
    doc_id: str
    title: str
    url: str
    text: str


class CollectionError(UnavailableError):
    """Chroma could not open, read or write a collection's directory."""


Found = TypeVar("Found")


class CollectionReader(Protocol):
    """Calls Chroma: turns its errors into messages for people, and may retry an unavailable server."""

    def __call__(self, work: Callable[[], Found]) -> Found:
        """Do the work and return its result; raises KbjobsError."""


class Collection(Closable):
    """An open collection. Use as a context manager.

    Args:
        place: the directory, or the name and address on a server, for messages.
        collection: Chroma's own collection.
        batch: the most records that an upsert may have.
        ask: calls its methods.
        close: releases it.
    """

    def __init__(
        self, place: str, collection: Any, batch: int, ask: CollectionReader, close: Callable[[], None] = lambda: None
    ) -> None:
        self.place = place
        self._collection = collection
        self._batch = min(BATCH, batch)
        self._ask, self._close = ask, close

    def close(self) -> None:
        """Release the directory."""
        self._close()

    def count(self) -> int:
        """The number of its records."""
        return self._ask(lambda: int(self._collection.count()))

    def ids(self) -> set[str]:
        """The ids of all records."""
        found: set[str] = set()
        offset = 0
        while page := self._get(include=[], limit=PAGE_OF_IDS, offset=offset)["ids"]:
            found.update(page)
            offset += len(page)
        return found

    def dimension(self) -> int | None:
        """The dimension of its vectors; None if it has none."""
        found = self._get(include=["embeddings"], limit=1)["embeddings"]
        return len(found[0]) if len(found) else None

    def read(self, ids: Sequence[str], has_vectors: bool) -> Iterator[Record]:
        """Yield those of the records that exist, in any order, and without vectors if they are not requested.

        Raises CollectionError even if the vector of only one record cannot be read.
        """
        parts: Any = ["documents", "metadatas", *(["embeddings"] if has_vectors else [])]
        found = self._get(ids=list(ids), include=parts)
        for number, name in enumerate(found["ids"]):
            where = found["metadatas"][number] or {}
            vector = np.asarray(found["embeddings"][number], "<f4").tobytes() if has_vectors else b""
            yield Record(
                name,
                str(where.get("doc_id")),
                str(where.get("title")),
                str(where.get("url")),
                str(found["documents"][number]),
                vector,
            )

    def upsert(self, records: Sequence[Record]) -> None:
        """Write records, replacing those with the same id."""
        for start in range(0, len(records), self._batch):
            batch = records[start : start + self._batch]
            self._ask(
                partial(
                    self._collection.upsert,
                    ids=[record.id for record in batch],
                    embeddings=np.stack([np.frombuffer(record.vector, "<f4") for record in batch]),
                    documents=[record.text for record in batch],
                    metadatas=[{"doc_id": record.doc_id, "title": record.title, "url": record.url} for record in batch],
                )
            )

    def delete(self, ids: Sequence[str]) -> None:
        """Delete records; unknown ids are no error."""
        for start in range(0, len(ids), self._batch):
            self._ask(partial(self._collection.delete, ids=list(ids[start : start + self._batch])))

    def query(self, vector: NDArray[np.float32], count: int) -> list[Neighbour]:
        """Find the records nearest to a vector, best first."""
        found = self._query([vector], count, ["documents", "metadatas", "distances"])
        rows = zip(found["ids"][0], found["distances"][0], found["documents"][0], found["metadatas"][0], strict=True)
        return [
            Neighbour(name, 1.0 - float(distance), where["doc_id"], where["title"], where["url"], text)
            for name, distance, text, where in rows
        ]

    def similarities(self, vectors: NDArray[np.float32], count: int) -> list[list[float]]:
        """The cosines of each vector's nearest records, best first."""
        found = self._query(vectors, count, ["distances"])
        return [[1.0 - float(distance) for distance in distances] for distances in found["distances"]]

    def unreachable(self, records: Sequence[Record]) -> list[str]:
        """The ids of records that a search for their own vector does not find.

        An equal vector counts as found. The index is approximate: about one in a thousand of very similar passages is
        not among its own ten or hundred nearest neighbours, but among its thousand. A lost record is not even there.
        """
        left = list(records)
        for neighbours in (10, 100, 1000):
            if not left:
                break
            matrix = np.stack([np.frombuffer(record.vector, "<f4") for record in left])
            found = self._query(matrix, neighbours, ["distances"])
            left = [
                record
                for record, distances in zip(left, found["distances"], strict=True)
                if not distances or min(distances) > NEAR
            ]
        return [record.id for record in left]

    def _get(self, **what: Any) -> Any:
        return self._ask(partial(self._collection.get, **what))

    def _query(self, vectors: Any, count: int, parts: list[str]) -> Any:
        return self._ask(partial(self._collection.query, query_embeddings=vectors, n_results=count, include=parts))


class OpenDirectory(Protocol):
    """Opens the collection in a directory, in this process or in a separate one."""

    def __call__(self, path: Path, create: bool = False) -> Collection:
        """As :func:`open_directory`."""


def open_directory(path: Path, create: bool = False) -> Collection:
    """Open the collection in a directory; with ``create``, create a missing one.

    Raises CollectionError if it is missing or damaged.
    """
    check_directory(path, create)
    ask = asking(path)
    found, batch, close = ask(partial(open_chroma, path, create))
    return Collection(str(path), found, batch, ask, close)


def check_directory(path: Path, create: bool = False) -> None:
    """Raise CollectionError if a directory's collection is damaged, or is missing and will not be created."""
    if not create and not (path / DATABASE).is_file():
        raise CollectionError(f"there is no vector collection in {path}", "Index the source first.")
    if (path / DATABASE).is_file() and (damage := find_damage(path)):
        raise CollectionError(f"the vector collection in {path} is damaged: {damage}", REMEDY)


def asking(path: Path) -> CollectionReader:
    """Make a function that calls Chroma on a directory.

    Chroma raises many unrelated types, some from its Rust part; a person needs the directory and a remedy.
    """

    def ask(work: Callable[[], Found]) -> Found:
        try:
            return work()
        except Exception as error:
            reason = str(error) if isinstance(error, ApartError) else f"{type(error).__name__}: {error}"
            raise CollectionError(f"the vector collection in {path} failed: {reason}", REMEDY) from error

    return ask


class ApartError(Exception):
    """An error of Chroma in its separate process, as text; or the end of that process."""


def open_chroma(path: Path, create: bool) -> tuple[Any, int, Callable[[], None]]:
    """Open Chroma's own collection in a directory; returns it, the most records of a write, and its close function.

    Passes on Chroma's errors.
    """
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings

    try:
        client = chromadb.PersistentClient(path, settings=Settings(anonymized_telemetry=False))
    except BaseException:
        # Chroma caches a client that failed to open, and would return it again for this path.
        SharedSystemClient.clear_system_cache()
        raise
    try:
        batch = client.get_max_batch_size()
        if create:
            found = client.get_or_create_collection(
                COLLECTION_NAME, embedding_function=None, configuration=CONFIGURATION
            )
        else:
            found = client.get_collection(COLLECTION_NAME, embedding_function=None)
    except BaseException:
        client.close()
        raise
    return found, batch, client.close
