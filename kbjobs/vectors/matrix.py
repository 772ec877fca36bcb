"""The vectors of an index as one plain file: every cosine is computed, so that no answer is missed.

A header of 64 bytes, then float32 rows of unit length, one for each distinct text, all little-endian. The file is
mapped into memory; a search touches each of its pages once.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"KBJM"
FORMAT = 1
_HEADER = struct.Struct("<4sIIQ16s28x")  # magic, format, dimension, rows, the state it was made of
_BUFFER = 1 << 20
# BLAS shares a product among all cores and waits for them: of a small one that costs more than it saves, and of two at
# the same time twenty times as much. So a small one is given to it in blocks that are too small to be shared.
_LARGE = 1 << 22  # numbers of a matrix
_BLOCK = 8  # rows; a multiple of the four that BLAS computes at once, so that a cosine is the same to the last bit
_BLAS = threading.Lock()


class MatrixError(ValueError):
    """A file that is no matrix, is cut, of another format, or was made of another state."""


def write_matrix(path: Path, dimension: int, vectors: Iterable[bytes]) -> tuple[int, int]:
    """Write the rows of a matrix, which :func:`seal_matrix` makes valid.

    Args:
        path: the file.
        dimension: how many numbers a vector has.
        vectors: float32, little-endian.

    Returns:
        Rows and bytes written.

    Raises:
        MatrixError: a vector has another dimension.
    """
    rows = 0
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb", _BUFFER) as file:
        file.write(b"\0" * _HEADER.size)
        for vector in vectors:
            if len(vector) != 4 * dimension:
                raise MatrixError(f"a vector of {len(vector)} bytes is not one of {dimension} dimensions")
            file.write(vector)
            rows += 1
    return rows, _HEADER.size + 4 * dimension * rows


def seal_matrix(path: Path, dimension: int, rows: int, state: str) -> None:
    """Write the header once all rows are there, and flush the file to disk; without it the file is no matrix.

    Args:
        path: the file.
        dimension: how many numbers a vector has.
        rows: how many vectors were written.
        state: the state that the matrix was made of.
    """
    with path.open("r+b") as file:
        file.write(_HEADER.pack(MAGIC, FORMAT, dimension, rows, _digest(state)))
        file.flush()
        os.fsync(file.fileno())


def open_matrix(path: Path, state: str) -> NDArray[np.float32]:
    """The rows, mapped into memory: float32 of shape (rows, dimension). Raises MatrixError, OSError."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        size = os.fstat(file.fileno()).st_size
        if len(head) < _HEADER.size:
            raise MatrixError(f"{path} is cut")
        magic, version, dimension, rows, made_of = _HEADER.unpack(head)
        if magic != MAGIC or version != FORMAT:
            raise MatrixError(f"{path} is not a matrix of format {FORMAT}")
        if made_of != _digest(state):
            raise MatrixError(f"{path} does not belong to the passages beside it")
        if size != _HEADER.size + 4 * dimension * rows or not dimension:
            raise MatrixError(f"{path} is cut")
        if not rows:
            return np.empty((0, dimension), dtype="<f4")
        # A plain array of the mapped rows: numpy wraps what is computed of a memmap again and again.
        return np.asarray(np.memmap(file, dtype="<f4", mode="r", offset=_HEADER.size, shape=(rows, dimension)))


def nearest(
    matrix: NDArray[np.float32], vector: NDArray[np.float32], count: int, rows: Sequence[int] | None = None
) -> list[tuple[int, float]]:
    """Find the rows with the largest cosine to a vector.

    Args:
        matrix: float32 of shape (rows, dimension), rows of unit length.
        vector: of unit length.
        count: how many rows to find.
        rows: the rows to consider, in ascending order; None for all.

    Returns:
        Rows with their cosines, best first; rows with equal cosines in their order.

    Raises:
        MatrixError: the vector has another dimension.
    """
    if len(matrix) and matrix.shape[1] != len(vector):
        raise MatrixError(f"the index has vectors of {matrix.shape[1]} dimensions, not {len(vector)}")
    chosen = matrix if rows is None else matrix[np.asarray(rows, dtype=np.int64)]
    count = min(count, len(chosen))
    if count < 1:
        return []
    scores = _cosines(chosen, vector.astype("<f4", copy=False))
    min_score = np.partition(scores, len(scores) - count)[len(scores) - count]
    best = np.flatnonzero(scores >= min_score)
    order = best[np.lexsort((best, -scores[best]))][:count]
    return [
        (row if rows is None else rows[row], score)
        for row, score in zip(order.tolist(), scores[order].tolist(), strict=True)
    ]


def _cosines(rows: NDArray[np.float32], vector: NDArray[np.float32]) -> NDArray[np.float32]:
    cosines = np.empty(len(rows), dtype=np.float32)
    if rows.size > _LARGE:
        with _BLAS:
            return np.matmul(rows, vector, out=cosines)
    whole = len(rows) // _BLOCK * _BLOCK
    np.matmul(rows[:whole].reshape(-1, _BLOCK, len(vector)), vector, out=cosines[:whole].reshape(-1, _BLOCK))
    np.matmul(rows[whole:], vector, out=cosines[whole:])
    return cosines


def _digest(state: str) -> bytes:
    return hashlib.sha256(state.encode()).digest()[:16]
