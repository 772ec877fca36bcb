"""The list of job types, by name: the only one there is. Light, for commands that load no type."""

from __future__ import annotations

NAMES: tuple[str, ...] = ("metadata", "index_offline", "clear_vectors", "suggest_tags")
# Names of former versions, wherever a type is read.
LEGACY: dict[str, tuple[str, ...]] = {"index": ("index_offline",)}


def known_names(name: str) -> tuple[str, ...]:
    """The names of today that a name, old or new, stands for; the name itself where none is known."""
    wanted = name.replace("-", "_")
    return LEGACY.get(wanted, (wanted,))
