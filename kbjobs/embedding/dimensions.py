"""The dimensions that kbjobs has a model for. Light: commands and parameters are made from them."""

from __future__ import annotations

from typing import Literal, get_args

LocalDimension = Literal[384, 768, 1024]
"""Those of the models in the catalogue of local ones."""

Dimension = Literal[LocalDimension, 1536]
"""These and that of the online model."""

LOCAL_DIMENSIONS: tuple[int, ...] = get_args(LocalDimension)
DIMENSIONS: tuple[int, ...] = get_args(Dimension)


def list_dimensions(dimensions: tuple[int, ...]) -> str:
    """Them for a person: 384, 768 or 1024."""
    return ", ".join(map(str, dimensions[:-1])) + f" or {dimensions[-1]}"
