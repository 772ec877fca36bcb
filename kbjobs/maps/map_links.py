"""Select the links between documents that a map draws: if there are many, those between the most similar documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

MAX_LINKS = 20_000


class StrongestLinks:
    """Collects pairs of documents and keeps the strongest; a link in both directions counts once.

    A link's strength is the cosine of its documents' ``rows``.
    """

    def __init__(self, rows: NDArray[np.float32], max_links: int = MAX_LINKS) -> None:
        self._rows, self._max_links = rows, max_links
        self._keys = np.empty(0, np.int64)
        self._strengths = np.empty(0, np.float64)

    def take(self, pairs: Iterable[tuple[str, str]], numbers: Mapping[str, int]) -> None:
        """Add links by the ids of their documents; ``numbers`` maps the id of each shown document to its row."""
        found = [(numbers[a], numbers[b]) for a, b in pairs if a in numbers and b in numbers]
        if not found:
            return
        ends = np.sort(np.array(found, np.int64), axis=1)
        keys = np.unique(ends[:, 0] * len(self._rows) + ends[:, 1])
        keys = keys[~np.isin(keys, self._keys)]
        first, second = (self._rows[keys // len(self._rows)], self._rows[keys % len(self._rows)])
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        cosines = np.einsum("ij,ij->i", first, second, dtype=np.float64) / np.maximum(lengths, 1e-12)
        self._keys = np.concatenate([self._keys, keys])
        self._strengths = np.concatenate([self._strengths, np.round(cosines, 9)])
        if len(self._keys) > 2 * self._max_links:
            self._cut()

    def found(self) -> NDArray[np.int64]:
        """Return pairs of rows, the strongest first."""
        self._cut()
        return np.stack([self._keys // max(1, len(self._rows)), self._keys % max(1, len(self._rows))], axis=1)

    def _cut(self) -> None:
        order = np.lexsort((self._keys, -self._strengths))[: self._max_links]
        self._keys, self._strengths = self._keys[order], self._strengths[order]
