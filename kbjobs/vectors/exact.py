"""The exact index of a collection: its vectors as a matrix, its passages in a file, both made from the ledger.

Both lie in the collection's directory and take its place with it. An older version has published directories without
them: these are searched with Chroma, until they are next published.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kbjobs.crashpoints import crash_point
from kbjobs.store.ledger import Ledger
from kbjobs.store.passages import Passage, PassageFile, write_passages
from kbjobs.vectors.matrix import MatrixError, nearest, open_matrix, seal_matrix, write_matrix

MATRIX = "matrix.f32"
PASSAGES = "passages.db"
EXACT = (MATRIX, PASSAGES)


class NotExactError(Exception):
    """There is no exact index in the directory, or it cannot be used: damaged, cut, or of another format."""


@dataclass(frozen=True, slots=True)
class Found:
    """A passage and its cosine similarity to what was searched for."""

    passage: Passage
    score: float


def write_exact(ledger: Ledger, model: int, profile: int, directory: Path) -> int:
    """Write the exact index of a model into a directory that nobody reads yet; returns how many passages it has."""
    rows: dict[str, int] = {}
    dimension = ledger.dimension(model)

    def vectors() -> Iterator[bytes]:
        for text_hash, vector in ledger.distinct_vectors(model, profile):
            rows[text_hash] = len(rows)
            yield vector

    path = directory / MATRIX
    count, _ = write_matrix(path, dimension, vectors())
    crash_point("matrix.rows_written")
    passages = (
        Passage(rows[text_hash], *named)
        for text_hash, *named in ledger.published_passages(model, profile)
        if text_hash in rows
    )
    state = exact_state(ledger, model, profile)
    written = write_passages(directory / PASSAGES, passages, state)
    crash_point("passages.written")
    seal_matrix(path, dimension, count, state)
    crash_point("matrix.sealed")
    return written


def exact_state(ledger: Ledger, model: int, profile: int) -> str:
    """Names what an exact index is made of: equal as long as its passages and their vectors are."""
    digest = hashlib.sha256()
    for name in sorted(ledger.record_ids(model, profile)):
        digest.update(name.encode())
    return f"{digest.hexdigest()[:32]} {ledger.newest_vector_of(model)}"


def read_state(directory: Path) -> str | None:
    """The state a directory's exact index was made of; None where there is none that can be used."""
    try:
        with PassageFile(directory / PASSAGES) as passages:
            open_matrix(directory / MATRIX, passages.state)
            return passages.state
    except (OSError, sqlite3.Error, ValueError, TypeError):
        return None


def search_exactly(directory: Path, vector: NDArray[np.float32], count: int) -> list[Found]:
    """The ``count`` passages nearest to a vector of unit length, best first, every cosine computed.

    Raises NotExactError.
    """
    try:
        with PassageFile(directory / PASSAGES) as file:
            matrix = open_matrix(directory / MATRIX, file.state)
            if matrix.shape[1] != len(vector):
                raise MatrixError(f"its vectors have {matrix.shape[1]} dimensions, not {len(vector)}")
            best = nearest(matrix, vector, count)
            scores = dict(best)
            passages = file.of_vectors([row for row, _ in best])
    except (OSError, sqlite3.Error, ValueError, TypeError) as error:
        raise NotExactError(str(error)) from error
    place = {row: number for number, (row, _) in enumerate(best)}
    passages.sort(key=lambda passage: (place[passage.row], passage.doc_id, passage.id))
    return [Found(passage, scores[passage.row]) for passage in passages[:count]]
