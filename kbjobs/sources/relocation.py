"""Relocating a source whose files were moved: its paths change, and its documents keep their ids."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.errors import NotFoundError, UsageError
from kbjobs.sources.registration import LOCK_SECONDS
from kbjobs.store.ledger import Ledger
from kbjobs.store.locks import lock_registered
from kbjobs.store.sources import Source, SourceFolder


@dataclass(frozen=True, slots=True)
class Relocated:
    """A source with its new paths; ``there`` is how many of its ``documents`` were found in them."""

    source: Source
    documents: int
    there: int


def relocate(home: Home, source_id: str, old: Path, new: Path) -> Relocated:
    """Replace the beginning of a source's paths.

    Args:
        home: the source's home.
        source_id: the source's id.
        old: one of its paths, or a folder above some of them; it need not exist.
        new: the path that replaces it.
    Raises:
        NotFoundError: the source has no path in ``old``, or the new path does not exist.
        UsageError: the documents would get other ids, or none of them is in the new place.
        ConflictError: a job is working on the source.
    """
    folder = SourceFolder(home.sources, source_id)
    folder.read()
    before, after = (Path(os.path.abspath(path.expanduser())) for path in (old, new))  # noqa: PTH100 — keeps links
    if not after.exists():
        raise NotFoundError(f"{new} is not there", "Give the place where the files are now.")
    with lock_registered(folder, LOCK_SECONDS):
        source = folder.read()
        moved = {path: after / Path(path).relative_to(before) for path in source.paths if _is_below(path, before)}
        if not moved:
            raise NotFoundError(f"no path of source {source_id!r} lies in {old}", f"It has {', '.join(source.paths)}.")
        for path, place in moved.items():
            if not place.exists():
                raise NotFoundError(f"{place} is not there, although {path} would be", "Nothing was changed.")
            if place.name != Path(path).name:
                raise UsageError(
                    f"the documents of {path} would get new ids: they are named after {Path(path).name!r}",
                    f"Give the new folder that name; or kbjobs sources edit {source_id} --drop {path} --add {place}:"
                    " nothing is embedded again.",
                )
        changed = replace(source, paths=tuple(str(moved.get(path, path)) for path in source.paths))
        documents, there = _count(folder, changed)
        if documents and not there:
            raise UsageError(
                f"none of the {documents:,} documents of {source_id!r} is in {new}", "Give the folder that they are in."
            )
        folder.write(changed)
    return Relocated(changed, documents, there)


def _is_below(path: str, top: Path) -> bool:
    return Path(path).is_relative_to(top)


def _count(folder: SourceFolder, source: Source) -> tuple[int, int]:
    """Count the source's documents, and those that are found in its paths."""
    if not folder.ledger.exists():
        return 0, 0
    from kbjobs.content.source_files import FoundFile, find_files

    keys = {entry.key for entry in find_files([Path(path) for path in source.paths]) if isinstance(entry, FoundFile)}
    with Ledger(folder.ledger) as ledger:
        known = [key for _, key in ledger.document_paths()]
    # The keys of an archive's documents begin with the key of its file.
    return len(known), sum(key in keys or _in_archive(key, keys) for key in known)


def _in_archive(key: str, keys: set[str]) -> bool:
    steps = key.split("/")
    return any("/".join(steps[:count]) in keys for count in range(1, len(steps)))
