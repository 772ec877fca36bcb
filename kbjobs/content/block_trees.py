"""Decision trees as flat arrays: what scikit-learn has learned about blocks, without scikit-learn.

A tree of at most sixteen leaves is evaluated as in QuickScorer (Lucchese and others, SIGIR 2015): each decision that is
not met rules out the leaves to its left, as a bit mask, and the first remaining leaf is the tree's answer. So all
decisions of all trees are evaluated at once, by a few array operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbjobs.content.block_features import Matrix

MODEL = Path(__file__).with_name("block_trees.npz")
"""The trees, the hash of their training data and their scores; written by bench/train_blocks.py."""

LEAVES = 16
"""The most leaves of a tree."""

_ROWS_AT_ONCE = 128
_ALL_LEAVES = np.uint16(0xFFFF)


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees whose answers are summed.

    Args:
        features: int16[decisions, trees], the index of the feature that each decision tests.
        thresholds: float32[decisions, trees]; a decision is met if the feature is not larger.
        masks: uint16[decisions, trees], the leaves that remain if it is not met.
        values: float32[trees, leaves].
        baseline: added to the sum.
    """

    features: NDArray[np.int16]
    thresholds: NDArray[np.float32]
    masks: NDArray[np.uint16]
    values: NDArray[np.float32]
    baseline: float

    def predict(self, rows: Matrix) -> NDArray[np.float64]:
        """Compute the probability of each row, between 0 and 1."""
        parts = [self._add_up(rows[start : start + _ROWS_AT_ONCE]) for start in range(0, len(rows), _ROWS_AT_ONCE)]
        return 1 / (1 + np.exp(-(np.concatenate(parts) + self.baseline)))

    def _add_up(self, rows: Matrix) -> NDArray[np.float64]:
        columns = np.ascontiguousarray(rows.T)
        trees = self.features.shape[1]
        remaining = np.full((trees, len(rows)), _ALL_LEAVES)
        for features, thresholds, masks in zip(self.features, self.thresholds, self.masks, strict=True):
            is_met = columns[features] <= thresholds[:, None]
            remaining &= np.negative(is_met, dtype=np.uint16, casting="unsafe") | masks[:, None]
        leaves = _first_bits()[remaining]
        found: NDArray[np.float64] = self.values[np.arange(trees)[:, None], leaves].sum(axis=0, dtype=np.float64)
        return found


@cache
def _first_bits() -> NDArray[np.uint8]:
    """The index of the lowest bit set, for each number of sixteen bits."""
    numbers = np.arange(1 << LEAVES, dtype=np.uint32)
    lowest = numbers & (~numbers + np.uint32(1))
    return np.log2(np.maximum(lowest, 1)).astype(np.uint8)


@cache
def load_forest() -> Forest:
    """Load the trees that are shipped with kbjobs."""
    with np.load(MODEL, allow_pickle=False) as stored:
        return read_forest(stored)


def read_forest(stored: Mapping[str, NDArray[Any]]) -> Forest:
    """Read the trees from a file's arrays."""
    return Forest(
        features=stored["features"],
        thresholds=stored["thresholds"],
        masks=stored["masks"],
        values=stored["values"],
        baseline=float(stored["baseline"]),
    )
