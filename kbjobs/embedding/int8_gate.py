"""Judge whether the 8-bit variant of a model is close enough to the exact model to be used.

Both embed 400 texts that took no part in its making.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.parity import compare

TEXTS = Path(__file__).with_name("int8_texts")

LEAST_COSINE = 0.97
"""In the worst case: below it a passage is found in another place."""
LEAST_MEAN = 0.99
LEAST_NEIGHBOURS = 9.0
_NEAREST = 10


@dataclass(frozen=True)
class Closeness:
    """How close the vectors of a variant are to the exact ones."""

    cosine_min: float
    cosine_mean: float
    neighbours: float
    """Of the ten nearest neighbours of a text among the others, how many are the same, on average."""

    @property
    def passes(self) -> bool:
        """Whether the variant may be used."""
        return (
            self.cosine_min >= LEAST_COSINE and self.cosine_mean >= LEAST_MEAN and self.neighbours >= LEAST_NEIGHBOURS
        )

    def describe(self) -> str:
        """Say the figures in one line."""
        return (
            f"cosine to the exact vectors {self.cosine_min:.4f} at least, {self.cosine_mean:.4f} on average;"
            f" {self.neighbours:.2f} of the ten nearest neighbours are the same"
        )

    def as_json(self) -> dict[str, float]:
        """The figures as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Closeness:
        """Read the figures. Raises KeyError, TypeError or ValueError if they are damaged."""
        return cls(*(float(content[name]) for name in cls.__dataclass_fields__))


def read_calibration() -> list[str]:
    """The texts that ranges are taken from."""
    return _read("calibration.txt")


def read_held_back() -> list[str]:
    """The texts that a variant is judged with."""
    return _read("held-back.txt")


def judge(vectors: NDArray[np.float32], exact: NDArray[np.float32]) -> Closeness:
    """Compare the vectors of the same texts, both of shape (texts, dimension) with rows of length 1."""
    parity = compare(vectors, exact)
    shared = [len(set(found) & set(wanted)) for found, wanted in zip(_nearest(vectors), _nearest(exact), strict=True)]
    return Closeness(parity.minimum, parity.mean, sum(shared) / len(shared))


def _nearest(vectors: NDArray[np.float32]) -> list[list[int]]:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2.0)
    nearest: list[list[int]] = np.argpartition(-cosines, _NEAREST, axis=1)[:, :_NEAREST].tolist()
    return nearest


def _read(name: str) -> list[str]:
    return (TEXTS / name).read_text(encoding="utf-8").splitlines()
