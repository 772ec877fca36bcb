"""Vectors as arrays in NumPy's format 1.0 (numpy.org/doc/stable/reference/generated/numpy.lib.format.html)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY\x01\x00"
"""The start of an array: magic and version. Two bytes with the length of the header follow."""
MAX_HEADER = 1_024
"""Most bytes before the numbers; arrays written here have 128."""
TOLERANCE = 0.01
"""How far a vector's length may be from 1; the ledger holds normalised vectors in float32."""

# The form in which NumPy writes the header. NumPy's own reader parses it as a Python literal.
_HEADER = re.compile(
    rb"\{'descr': '(?P<kind>[^']{1,20})', 'fortran_order': (?P<order>True|False),"
    rb" 'shape': \((?P<shape>\d{1,19}(?:, ?\d{1,19}){0,9},?)\),? ?\} *\n"
)


def write_rows(vectors: Sequence[bytes], dimension: int) -> bytes:
    """Encode vectors (float32, little-endian) as an array file.

    Raises:
        ValueError: a vector does not have that dimension, is not of unit length, or is not finite.
    """
    if any(len(vector) != 4 * dimension for vector in vectors):
        raise ValueError(f"a vector has not {dimension:,} numbers")
    rows = np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), dimension)
    check_rows(rows)
    file = io.BytesIO()
    npy.write_array(file, rows, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def read_rows(data: bytes, count: int, dimension: int) -> NDArray[np.float32]:
    """Read an array of vectors, without allocating memory for a size that its header claims.

    Args:
        data: the whole file.
        count: the number of vectors that it must hold.
        dimension: the dimension that the vectors must have.

    Returns:
        float32 of shape (count, dimension).

    Raises:
        ValueError: it is not such an array, or a vector is not of unit length.
    """
    if not data.startswith(MAGIC):
        raise ValueError("is no array in version 1.0 of NumPy's format")
    start = len(MAGIC) + 2 + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 2], "little")
    header = _HEADER.fullmatch(data, len(MAGIC) + 2, min(start, MAX_HEADER))
    if header is None:
        raise ValueError("has a header that cannot be read")
    kind, order = header["kind"].decode("ascii", "replace"), header["order"]
    if kind != "<f4" or order != b"False":
        raise ValueError(f"holds {kind}{'' if order == b'False' else ' in columns'}, not float32 in rows")
    shape = tuple(int(number) for number in header["shape"].split(b",") if number.strip())
    if shape != (count, dimension):
        raise ValueError(f"has the shape {shape}, not {count:,} vectors of {dimension:,} numbers")
    if len(data) - start != count * dimension * 4:
        raise ValueError(f"has {len(data) - start:,} bytes of numbers, not {count * dimension * 4:,}")
    rows = np.frombuffer(data, "<f4", offset=start).reshape(count, dimension)
    check_rows(rows)
    return rows


def check_rows(rows: NDArray[np.float32]) -> None:
    """Raise ValueError if a vector is not finite, or not of unit length."""
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= TOLERANCE))
    if len(wrong):
        raise ValueError(f"has a vector of length {lengths[wrong[0]]:g} in row {wrong[0]:,}, not 1")
