"""Vectors as arrays in NumPy's format 1.0 (numpy.org/doc/stable/reference/generated/numpy.lib.format.html)."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MAX_HEADER = 1_024
"""Most bytes of an array's header: those that are written have 128."""
TOLERANCE = 0.01
"""How far a vector's length may be from 1: the ledger holds them normalised, in float32."""


def write_rows(vectors: Sequence[bytes], dimension: int) -> bytes:
    """An array of vectors (float32, little-endian) as a file.

    Raises:
        ValueError: one is not of that dimension, not of unit length, or not finite.
    """
    if any(len(vector) != 4 * dimension for vector in vectors):
        raise ValueError(f"a vector has not {dimension:,} numbers")
    rows = np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), dimension)
    check_rows(rows)
    file = io.BytesIO()
    npy.write_array(file, rows, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def read_rows(data: bytes, count: int, dimension: int) -> NDArray[np.float32]:
    """The array that a file holds; nothing is allocated for what its header claims.

    Raises:
        ValueError: it is not an array of ``count`` vectors of unit length.
    """
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
    except ValueError as error:
        raise ValueError("is no array of NumPy") from error
    if version != (1, 0):
        raise ValueError(f"is of version {version[0]}.{version[1]} of NumPy's format, not 1.0")
    try:
        shape, is_fortran, kind = npy.read_array_header_1_0(file, max_header_size=MAX_HEADER)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("has a header that cannot be read") from error
    if kind != np.dtype("<f4") or is_fortran:
        raise ValueError(f"holds {kind}{' in columns' if is_fortran else ''}, not float32 in rows")
    if shape != (count, dimension):
        raise ValueError(f"has the shape {shape}, not {count:,} vectors of {dimension:,} numbers")
    start = file.tell()
    if len(data) - start != count * dimension * 4:
        raise ValueError(f"has {len(data) - start:,} bytes of numbers, not {count * dimension * 4:,}")
    rows = np.frombuffer(data, "<f4", offset=start).reshape(count, dimension)
    check_rows(rows)
    return rows


def check_rows(rows: NDArray[np.float32]) -> None:
    """Raise ValueError where a vector is not finite, or not of unit length."""
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= TOLERANCE))
    if len(wrong):
        raise ValueError(f"has a vector of length {lengths[wrong[0]]:g} in row {wrong[0]:,}, not 1")
