"""The variants of a local model: ``all-MiniLM-L6-v2:int8`` is the model with its matrices in eight bits.

A variant gives other vectors than the exact model, so it has a key and a collection of its own. It is never chosen
unless somebody names it. Cheap to import.
"""

from __future__ import annotations

INT8 = ":int8"
"""The end of the name of a model's 8-bit variant."""

RECIPE = 1
"""The number of the way in which 8-bit variants are made; another way or other calibration texts need another number,
and it is part of the key of their vectors."""


def split_variant(name: str) -> tuple[str, bool]:
    """Split a model's name into that of the exact model, and whether its 8-bit variant is meant."""
    name = name.strip()
    if name.casefold().endswith(INT8):
        return name[: -len(INT8)], True
    return name, False
