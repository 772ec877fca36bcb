"""The vectors of an index as one plain file: a search computes every cosine, so that it misses no answer.

The file has a header of 64 bytes, then float32 rows of unit length, one for each distinct text, all little-endian. It
is mapped into memory; a search touches each of its pages once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"KBJM"
FORMAT = 1
_HEADER = struct.Struct("<4sIIQ16s28x")  # magic, format, dimension, rows, hash of the state
_BUFFER = 1 << 20
# BLAS splits a product among all cores and waits for them. For a small product that costs more than it saves, and for
# two at the same time twenty times as much. So a small product is computed in blocks too small to be split.
_LARGE = 1 << 22  # numbers of a matrix
_BLOCK = 8  # rows; a multiple of the four that BLAS computes at once, so that a cosine is equal to the last bit
_BLAS = threading.Lock()


class MatrixError(ValueError):
    """A file is not a matrix, is cut, has another format, or belongs to another state."""


def write_matrix(path: Path, dimension: int, vectors: Iterable[bytes]) -> tuple[int, int]:
    """Write the rows of a matrix, which :func:`seal_matrix` makes valid.

    Args:
        path: the file.
        dimension: the dimension of the vectors.
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


def patch_matrix(path: Path, before: Path, dimension: int, rows: int, changed: Iterable[tuple[int, bytes]]) -> None:
    """Copy a matrix and write some of its rows anew; :func:`seal_matrix` makes the copy valid.

    Args:
        path: the file to write.
        before: a valid matrix of that dimension.
        dimension: the dimension of the vectors.
        rows: the number of rows that the copy is to have.
        changed: the rows to write, each with its vector (float32, little-endian); all beyond those of ``before``.

    Raises:
        MatrixError: a vector has another dimension.
    """
    shutil.copyfile(before, path)
    path.chmod(0o600)
    with path.open("r+b", _BUFFER) as file:
        file.write(b"\0" * _HEADER.size)
        file.truncate(_HEADER.size + 4 * dimension * rows)
        for row, vector in changed:
            if len(vector) != 4 * dimension:
                raise MatrixError(f"a vector of {len(vector)} bytes is not one of {dimension} dimensions")
            file.seek(_HEADER.size + 4 * dimension * row)
            file.write(vector)


def seal_matrix(path: Path, dimension: int, rows: int, state: str) -> None:
    """Write the header after all rows, and flush the file to disk. Without the header the file is not a matrix.

    Args:
        path: the file.
        dimension: the dimension of the vectors.
        rows: the number of vectors written.
        state: the state that the matrix was made from.
    """
    with path.open("r+b") as file:
        file.write(_HEADER.pack(MAGIC, FORMAT, dimension, rows, _digest(state)))
        file.flush()
        os.fsync(file.fileno())


def open_matrix(path: Path, state: str) -> NDArray[np.float32]:
    """Map the rows into memory: float32 of shape (rows, dimension). Raises MatrixError, OSError."""
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
        # A plain array of the mapped rows, because numpy wraps every result computed from a memmap again.
        return np.asarray(np.memmap(file, dtype="<f4", mode="r", offset=_HEADER.size, shape=(rows, dimension)))


def nearest(
    matrix: NDArray[np.float32], vector: NDArray[np.float32], count: int, rows: Sequence[int] | None = None
) -> list[tuple[int, float]]:
    """Find the rows with the largest cosine to a vector.

    Args:
        matrix: float32 of shape (rows, dimension), rows of unit length.
        vector: float32, of unit length.
        count: the number of rows to find.
        rows: the rows to consider, in ascending order; None for all.

    Returns:
        Rows with their cosines, best first; rows with equal cosines in ascending order.

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
