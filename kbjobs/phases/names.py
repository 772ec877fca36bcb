"""The list of job types, by name: the only one there is. Light, for commands that load no type."""

from __future__ import annotations

NAMES: tuple[str, ...] = ("metadata", "index_online", "index_offline", "clear_vectors", "suggest_tags")
# Not for people: what the API makes jobs of.
INTERNAL: tuple[str, ...] = ("python_function",)
# Names of former versions, wherever a type is read.
# One that stands for two was told apart by its dimension.
LEGACY: dict[str, tuple[str, ...]] = {
    "index": ("index_offline", "index_online"),
    "reindex": ("reindex_offline", "reindex_online"),
}


def known_names(name: str) -> tuple[str, ...]:
    """The names of today that a name, old or new, stands for; the name itself where none is known."""
    wanted = name.replace("-", "_")
    return LEGACY.get(wanted, (wanted,))
