"""The only list of job types, by name. Light, for commands that load no type."""

from __future__ import annotations

from kbjobs.embedding.dimensions import DIMENSIONS, LOCAL_DIMENSIONS, list_dimensions
from kbjobs.errors import UsageError

NAMES: tuple[str, ...] = (
    "scrape",
    "metadata",
    "index_online",
    "index_offline",
    "clear_vectors",
    "suggest_tags",
    "delete_source",
    "zim_inspect",
    "zim_index",
    "install_source",
    "upload",
    "pinecone_sync",
    "pinecone_sync_dry",
    "visualisation",
    "model_download",
    "language_download",
)
# Types that only the Python API uses.
INTERNAL: tuple[str, ...] = ("python_function",)
# Old names, accepted wherever a type is read. Of two types, the first is for the dimensions of local models.
LEGACY: dict[str, tuple[str, ...]] = {
    "index": ("index_offline", "index_online"),
    "reindex": ("reindex_offline", "reindex_online"),
    "download": ("install_source",),
    "vectors_768": ("vectors_768",),
}


def known_names(name: str) -> tuple[str, ...]:
    """The names that an old or current name matches when jobs are listed: the current names, and itself."""
    wanted = name.replace("-", "_")
    return tuple(dict.fromkeys((*LEGACY.get(wanted, ()), wanted)))


def stands_for_two(name: str) -> bool:
    """Whether a name is an old one for two types, which the dimension tells apart."""
    return len(LEGACY.get(name.replace("-", "_"), ())) > 1


def resolve_name(name: str, dimension: object = None) -> str:
    """The current name, with underscores.

    Raises UsageError if an old name stands for two types, and no dimension tells which.
    """
    wanted = name.replace("-", "_")
    choices = LEGACY.get(wanted, (wanted,))
    if len(choices) == 1:
        return choices[0]
    local, online = choices
    if dimension not in DIMENSIONS:
        names = " or ".join(choice.replace("_", "-") for choice in choices)
        given = "" if dimension is None else f", and {dimension} is no dimension"
        raise UsageError(
            f"{name!r} is an old name for two job types: {names}{given}",
            f"Name one of them, or give its dimension: {list_dimensions(LOCAL_DIMENSIONS)} for"
            f" {local.replace('_', '-')}, {DIMENSIONS[-1]} for {online.replace('_', '-')}.",
        )
    return local if dimension in LOCAL_DIMENSIONS else online
