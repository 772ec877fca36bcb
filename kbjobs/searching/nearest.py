"""The passages of a source that are nearest to a query's vector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from numpy import float32
from numpy.typing import NDArray

from kbjobs.errors import UnavailableError
from kbjobs.vectors.collection import Collection, CollectionError, Hit
from kbjobs.vectors.exact import PASSAGES, NotExactError, search_exactly
from kbjobs.vectors.publishing import WorkingCopy

SWAPS = 5  # of an index under a search that are put up with


def find_nearest(
    copies: WorkingCopy, vector: NDArray[float32], count: int, on_notice: Callable[[str], None]
) -> list[Hit]:
    """The ``count`` nearest passages, best first, once more where a job has put a new index in its place meanwhile.

    Every cosine is computed. An index that an older version has published, or whose matrix is damaged, is asked with
    Chroma, which may miss some among very many alike; ``on_notice`` is told so of a damaged one.
    """
    for _ in range(SWAPS):
        path = copies.readable()
        before = _inode(path)
        try:
            hits = _search(path, vector, count, on_notice)
        except CollectionError:
            if before is not None and _inode(path) == before:
                raise
        else:
            if _inode(path) == before:
                return hits
    raise UnavailableError(f"{copies.live} was replaced under the search, time and again", "Search once more.")


def _search(path: Path, vector: NDArray[float32], count: int, on_notice: Callable[[str], None]) -> list[Hit]:
    try:
        found = search_exactly(path, vector, count)
    except NotExactError as error:
        if (path / PASSAGES).exists():
            on_notice(f"{path} is searched with Chroma, not exactly: {error}. kbjobs sources rebuild mends it.")
        with Collection(path) as collection:
            return collection.query(vector, count)
    return [
        Hit(one.passage.id, one.score, one.passage.doc_id, one.passage.title, one.passage.url, one.passage.text)
        for one in found
    ]


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
