"""Registering, relocating and deleting sources."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Provide the names that were imported from here until 0.2, with a DeprecationWarning; removed in 0.4."""
    if not name.startswith("_"):
        # Imported by name, since this folder must not import from folders above it.
        for module in ("kbjobs.services.documents", "kbjobs.services.sources"):
            found = getattr(import_module(module), name, None)
            if found is not None:
                where = "kbjobs.plugins" if name == "documents" else module
                warnings.warn(
                    f"kbjobs.sources.{name} is replaced by {where}.{name}, and removed in 0.4",
                    DeprecationWarning,
                    stacklevel=2,
                )
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
