"""Reduce vectors of hundreds of dimensions to the few of a map: by principal components, or by UMAP on these.

The same vectors give the same bytes on every run: sums run over blocks of a fixed size, in double precision and on one
thread, since several threads add in varying order; the arbitrary sign of a component is fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COMPONENTS = 32  # kept of each document; the basis of clusters, links and UMAP
NOTHING = 1e-10  # a variance below this is only rounding of unit-length vectors stored as float32
NEIGHBOURS = 15  # that UMAP keeps close together; its own default
FEWEST_FOR_UMAP = 10
SEED = 7

Blocks = Callable[[], Iterator[NDArray[np.float32]]]
"""Reads the vectors from the start, a block of rows at a time."""


@dataclass(frozen=True, slots=True)
class Components:
    """A row of coordinates for each document, and each component's share of the total variance."""

    rows: NDArray[np.float32]
    shares: tuple[float, ...]


def one_thread() -> AbstractContextManager[object]:
    """Make numpy compute on one thread, as a context."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def principal_components(blocks: Blocks, count: int, dimension: int) -> Components:
    """Compute the first principal components of vectors, within :func:`one_thread`.

    Args:
        blocks: yields all vectors, a block at a time; called twice.
        count: the number of vectors.
        dimension: the dimension of each.
    """
    total = np.zeros(dimension)
    products = np.zeros((dimension, dimension))
    for block in blocks():
        wide = block.astype(np.float64)
        total += wide.sum(axis=0)
        products += wide.T @ wide
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    kept = min(COMPONENTS, dimension)
    values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(kept)])
    vectors[:, values < NOTHING] = 0.0
    rows = np.zeros((count, COMPONENTS), np.float32)
    start = 0
    for block in blocks():
        rows[start : start + len(block), :kept] = (block.astype(np.float64) - mean) @ vectors
        start += len(block)
    whole = float(np.trace(covariance))
    shares = tuple(round(float(value / whole), 6) if value >= NOTHING else 0.0 for value in values)
    return Components(rows, shares)


def reduce_by_umap(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute three coordinates per row by UMAP. Its seed makes it use one thread, so every run gives the same."""
    import umap

    neighbours = min(NEIGHBOURS, len(rows) - 1)
    found = umap.UMAP(n_components=3, n_neighbors=neighbours, random_state=SEED, n_jobs=1).fit_transform(rows)
    return np.asarray(found, np.float32)


def fit_into_cube(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Centre the first three columns and scale them together, so that the farthest value is -1 or 1."""
    wide = rows[:, :3].astype(np.float64)
    if not len(wide):
        return wide
    wide -= (wide.max(axis=0) + wide.min(axis=0)) / 2
    largest = float(np.abs(wide).max())
    return wide / largest if largest > 0 else wide
