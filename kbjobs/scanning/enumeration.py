"""Which files a source has, and which of its documents are gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kbjobs.content.document import document_id
from kbjobs.content.source_files import READABLE, FileSearch, FoundFile, SkippedFile, find_files
from kbjobs.context import Context
from kbjobs.errors import KbjobsError, UsageError
from kbjobs.formatting import counted
from kbjobs.store.sources import MAX_REMOVED, Source

MAX_REMEMBERED = 10_000
"""Of what was left out."""

_LEFT_OUT = "left out"


class Known(Protocol):
    """What is known of a document."""

    @property
    def path(self) -> str:
        """Its key within the source."""
        ...

    @property
    def has_file(self) -> bool:
        """Whether it was read here; of one that came with a pack no file was seen yet."""
        ...


class FactStore(Protocol):
    """Where is remembered what was learned of a source."""

    def fact(self, name: str) -> str | None:
        """As the ledger's."""
        ...

    def set_fact(self, name: str, value: str | None) -> None:
        """As the ledger's."""
        ...


def read_left_out(facts: FactStore) -> list[tuple[str, str, str]]:
    """What the last whole scan has left out: "failed" or "skipped", its path, and why."""
    return [(kind, path, reason) for kind, path, reason in json.loads(facts.fact(_LEFT_OUT) or "[]")]


@dataclass(slots=True)
class Scan:
    """What a scan found: ``failed`` are documents that could not be read, as (path, reason).

    ``beside`` counts those of them that are no documents, but metadata or indexes of an archive; ``short`` entries of
    archives with too little text.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    short: int = 0
    beside: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)

    def remember(self, facts: FactStore) -> None:
        """Keep what was left out, and why, for :func:`read_left_out`."""
        left = [*(("failed", *one) for one in self.failed), *(("skipped", *one) for one in self.skipped)]
        facts.set_fact(_LEFT_OUT, json.dumps(left[:MAX_REMEMBERED], ensure_ascii=False) if left else None)

    def format_other_files(self) -> str:
        """For a summary, behind the number of what could not be read: how much of it is no document, or nothing."""
        return f", {self.beside:,} of which are no pages but describe a ZIM file" if self.beside else ""

    def format_skipped(self) -> str:
        """For a summary: how much was passed over, or nothing."""
        told = f"; {counted(len(self.skipped), 'file')} skipped: links, pipes (see the log)" if self.skipped else ""
        return told + (f"; {counted(self.short, 'entry', 'entries')} with too little text" if self.short else "")

    def count(self, before: str | None, now: str) -> None:
        """Count a document that was read, by the hash of its content before (None for a new one) and now."""
        if before is None:
            self.new += 1
        elif before != now:
            self.changed += 1
        else:
            self.unchanged += 1


class TooManyRemovedError(KbjobsError):
    """A run would remove more of a source than can be meant: an unmounted disk looks like this."""


@dataclass(frozen=True, slots=True)
class Enumerated:
    """A source's files in order: those of one document each, and archives of many."""

    source: Source
    files: list[FoundFile]
    archives: list[FoundFile]


def enumerate_source(
    context: Context,
    source: Source,
    known: Mapping[str, Known],
    scan: Scan,
    limit: int | None,
    allow_delete: bool,
) -> Enumerated:
    """The source's files. ``scan`` is told what cannot be read and which of the known documents have vanished.

    What an archive no longer holds is found when it is read.
    Raises UsageError where there never was anything, TooManyRemovedError where too much is gone.
    """
    search: FileSearch = find_files([Path(path) for path in source.paths])
    files: list[FoundFile] = []
    archives: list[FoundFile] = []
    seen: set[str] = set()
    has_one_base = bool(source.base_url) and len(source.paths) > 1
    unreadable: list[str] = []
    places: dict[str, str] = {}  # below the base URL: key of the file
    for entry in search:
        if isinstance(entry, SkippedFile):
            if entry.still_there:
                scan.failed.append((entry.key, entry.reason))
                unreadable.append(entry.key)
                seen.add(document_id(source.id, entry.key))
            else:
                scan.skipped.append((entry.key, entry.reason))
        elif entry.is_archive:
            archives.append(entry)
        elif has_one_base and (other := places.setdefault(entry.relative, entry.key)) != entry.key:
            scan.failed.append((entry.key, f"its URL would be that of {other}"))
            seen.add(document_id(source.id, entry.key))
        else:
            files.append(entry)
            seen.add(document_id(source.id, entry.key))
        if len(seen) % 1000 == 0:
            context.check()
    if not files and not archives and not known:
        detail = f"; {counted(search.ignored, 'file')} of other types" if search.ignored else ""
        detail += f"; {len(scan.failed)} could not be opened ({scan.failed[0][1]})" if scan.failed else ""
        raise UsageError(
            f"source {source.id!r} has no {READABLE} in {', '.join(source.paths)}{detail}",
            f"Check the folder, or give the source another one: kbjobs sources edit {source.id} --add PATH --drop PATH",
        )
    if limit is not None:
        return Enumerated(source, files[:limit], archives)
    # Of an archive that cannot be read now all documents stay.
    held = tuple(f"{key}/" for key in [*(archive.key for archive in archives), *unreadable])
    vanished = [doc_id for doc_id, one in known.items() if doc_id not in seen and not one.path.startswith(held)]
    if vanished and not search.complete:
        context.log.warning(
            "%d documents were not found, but some folders could not be read: no document is removed", len(vanished)
        )
    else:
        add_vanished(source, known, scan, vanished, allow_delete)
    return Enumerated(source, files, archives)


def add_vanished(
    source: Source, known: Mapping[str, Known], scan: Scan, vanished: list[str], allow_delete: bool
) -> None:
    """Note documents that are gone. Raises TooManyRemovedError where they are more than can be meant.

    Those that came with a pack, whose files were never here, stay.
    """
    vanished = [doc_id for doc_id in vanished if known[doc_id].has_file]
    gone = len(scan.vanished) + len(vanished)
    if gone > MAX_REMOVED * len(known) and not allow_delete:
        raise TooManyRemovedError(
            f"{gone:,} of the {counted(len(known), 'document')} of {source.id!r} are gone, more than"
            f" {MAX_REMOVED:.0%}; nothing was removed",
            "Mount the disk or restore the files; if they are meant to go, run it again with --allow-delete.",
        )
    scan.vanished += vanished
