"""Reduce one vector per token to one vector per text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pool(hidden: NDArray[np.float32], mask: NDArray[np.int64], pooling: str) -> NDArray[np.float32]:
    """Reduce the last hidden state to one vector per text.

    Args:
        hidden: shape (texts, tokens, dimension).
        mask: shape (texts, tokens), 1 for a token and 0 for padding (which comes last).
        pooling: ``mean`` of the tokens, or ``cls``, the first one.

    Returns:
        Shape (texts, dimension), not yet of length 1.
    """
    if pooling == "cls":
        return np.array(hidden[:, 0, :], dtype=np.float32)
    weights = mask.astype(np.float32)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    with np.errstate(invalid="ignore"):  # an infinite number is found later, through its row's length
        means: NDArray[np.float32] = np.matmul(weights[:, None, :], hidden)[:, 0, :]
    return means


def lengths_of(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the length of each row; NaN or infinite if the row holds such a number."""
    lengths: NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return lengths


def find_unusable(lengths: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the rows whose vector has no direction: zero, NaN or infinite."""
    return np.flatnonzero(~(np.isfinite(lengths) & (lengths > 1e-12)))
