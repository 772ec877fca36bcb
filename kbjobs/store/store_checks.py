"""Checks of the store's files, for kbjobs doctor."""

from __future__ import annotations

from collections.abc import Iterator

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.formatting import counted
from kbjobs.store.connection import check_integrity
from kbjobs.store.pauses import list_pauses
from kbjobs.store.snapshot import open_to_read
from kbjobs.store.sources import SourceFolder, list_source_ids, list_sources
from kbjobs.system.findings import Finding


def check_databases(home: Home) -> Iterator[Finding]:
    """Check whether the SQLite files are intact."""
    paths = [home.state_file] + [home.sources / name / "source.db" for name in list_source_ids(home.sources)]
    existing = [path for path in paths if path.exists()]
    damaged = False
    for path in existing:
        found = check_integrity(path)
        if found != "ok":
            damaged = True
            yield Finding("databases", "problem", f"{path} is damaged: {found}", "Restore it from a backup.")
    if not damaged:
        yield Finding("databases", "ok", f"{counted(len(existing), 'file')}, whole")


def check_sources(home: Home) -> Iterator[Finding]:
    """Check whether the manifests are readable and the files that they name exist."""
    damaged: dict[str, KbjobsError] = {}
    sources = list_sources(home.sources, damaged.__setitem__)
    for error in damaged.values():
        yield Finding("sources", "problem", error.message, error.hint)
    missing = [(one.id, path) for one in sources for path in SourceFolder(home.sources, one.id).find_missing()]
    for source_id, path in missing:
        remedy = f"Mount the disk or restore it; if it has moved: kbjobs sources relocate {source_id} {path} NEW"
        yield Finding("sources", "problem", f"{path}, of source {source_id}, is not there", remedy)
    if not damaged and not missing:
        yield Finding("sources", "ok", f"the manifests and files of {counted(len(sources), 'source')} are there")


def check_pauses(home: Home) -> Iterator[Finding]:
    """Report what is paused."""
    queue = open_to_read(home.state_file)
    if queue is None:
        return
    with queue:
        for pause in list_pauses(queue):
            yield Finding("pause", "note", f"{pause.what} has been paused since {pause.since}", pause.remedy)
