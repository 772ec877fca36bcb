"""The dimensions that kbjobs has a model for. Cheap to import, since commands and parameters are made from them."""

from __future__ import annotations

from typing import Literal, get_args

LocalDimension = Literal[384, 768, 1024]
"""The dimensions of the local models in the catalogue."""

Dimension = Literal[LocalDimension, 1536]
"""The same, with the online model's."""

LOCAL_DIMENSIONS: tuple[int, ...] = get_args(LocalDimension)
DIMENSIONS: tuple[int, ...] = get_args(Dimension)


def list_dimensions(dimensions: tuple[int, ...]) -> str:
    """List dimensions for a person: 384, 768 or 1024."""
    return ", ".join(map(str, dimensions[:-1])) + f" or {dimensions[-1]}"
