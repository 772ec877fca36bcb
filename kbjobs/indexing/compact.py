"""Free disk space that a source takes but does not need."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kbjobs.store.frontier import Frontier
from kbjobs.store.ledger import Ledger
from kbjobs.store.passages import compact_file
from kbjobs.store.sources import SourceFolder
from kbjobs.store.vacuum import vacuum
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.collection_swap import WorkingCopy, disk_bytes
from kbjobs.vectors.exact import MENDING
from kbjobs.vectors.indexed import Collections
from kbjobs.vectors.sync import recover_and_publish

MIN_CHURN = 0.1  # deleted records, as a share of the existing ones, from which a collection is rebuilt


@dataclass(frozen=True, slots=True)
class CompactedPart:
    """The disk space of one part of a source, in bytes: the ledger, the vectors, the frontier, or the words."""

    name: str
    before_bytes: int
    after_bytes: int


@dataclass(frozen=True, slots=True)
class Compacted:
    """The disk space of a source before and after, in bytes; ``rebuilt`` names models."""

    source: str
    parts: tuple[CompactedPart, ...]
    rebuilt: tuple[str, ...]

    @property
    def before_bytes(self) -> int:
        """All parts before."""
        return sum(part.before_bytes for part in self.parts)

    @property
    def after_bytes(self) -> int:
        """All parts now."""
        return sum(part.after_bytes for part in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """The result as the JSON that ``--json`` prints."""
        sums = {"before_bytes": self.before_bytes, "after_bytes": self.after_bytes}
        return {**asdict(self), **sums, "freed_bytes": self.before_bytes - self.after_bytes}


def compact_source(source: SourceFolder, collections: Collections) -> Compacted:
    """Remove leftovers of rebuilds, rewrite SQLite files, and rebuild collections with many deleted records.

    The caller holds the source's lock. A kill at any point loses nothing, and the next call resumes. Raises
    UnavailableError if the disk has no room for a step; earlier steps stay done.
    """
    before = _measure(source)
    rebuilt: list[str] = []
    if source.ledger.exists():
        ledger = Ledger(source.ledger)
        try:
            found = [(row, collections.of(ledger, row.id, row.profile, row.key)) for row in ledger.models()]
            for _, indexed in found:
                _remove_leftovers(indexed.copies)
            crash_point("compact.removed")
            vacuum(ledger)
            crash_point("compact.vacuumed")
            for row, indexed in found:
                churn = ledger.churn(row.id)
                if indexed.live.exists() and churn and churn >= MIN_CHURN * ledger.count_chunks(row.profile):
                    recover_and_publish(indexed, needs_fresh=True)
                    rebuilt.append(row.name)
                    crash_point("compact.rebuilt")
        finally:
            ledger.close()
    if source.frontier.exists():
        frontier = Frontier(source.frontier)
        try:
            vacuum(frontier)
        finally:
            frontier.close()
    if source.words.exists():
        compact_file(source.words)
    after = _measure(source)
    return Compacted(
        source.id, tuple(CompactedPart(name, before[name], after[name]) for name in before), tuple(rebuilt)
    )


def _measure(source: SourceFolder) -> dict[str, int]:
    files = {"ledger": source.ledger, "frontier": source.frontier, "words": source.words}
    sizes = {name: _file_bytes(path) for name, path in files.items()}
    return {**sizes, "vectors": disk_bytes(source.vectors) if source.vectors.is_dir() else 0}


def _file_bytes(path: Path) -> int:
    """Sum the disk space of an SQLite file, its log and temporary files next to it."""
    return sum(file.lstat().st_blocks * 512 for file in path.parent.glob(path.name + "*") if file.is_file())


def _remove_leftovers(copies: WorkingCopy) -> None:
    copies.discard()
    for beside in copies.live.glob(f"{MENDING}*"):
        shutil.rmtree(beside)
