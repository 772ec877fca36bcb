"""Enumerating the files of a source, and finding documents whose files are gone."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
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
"""Most entries of the list of files and documents that were left out."""

_LEFT_OUT = "left out"


class Known(Protocol):
    """What is known of a document."""

    @property
    def path(self) -> str:
        """Its key within the source."""
        ...

    @property
    def has_file(self) -> bool:
        """Whether its file was read here; False for a document from a pack whose file was not seen yet."""
        ...


class FactStore(Protocol):
    """Stores facts about a source."""

    def fact(self, name: str) -> str | None:
        """As :meth:`kbjobs.store.ledger.Ledger.fact`."""
        ...

    def set_fact(self, name: str, value: str | None) -> None:
        """As :meth:`kbjobs.store.ledger.Ledger.set_fact`."""
        ...


def read_left_out(facts: FactStore) -> list[tuple[str, str, str]]:
    """What the last complete scan left out: "failed" or "skipped", the path, and the reason."""
    return [(kind, path, reason) for kind, path, reason in json.loads(facts.fact(_LEFT_OUT) or "[]")]


@dataclass(slots=True)
class Scan:
    """The result of a scan: ``failed`` are entries that could not be read, as (path, reason).

    ``beside`` counts failed entries that are not documents, but metadata or indexes of an archive; ``short`` counts
    entries of archives with too little text.
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
        """Record what was left out, and why, for :func:`read_left_out`."""
        left = [*(("failed", *one) for one in self.failed), *(("skipped", *one) for one in self.skipped)]
        facts.set_fact(_LEFT_OUT, json.dumps(left[:MAX_REMEMBERED], ensure_ascii=False) if left else None)

    def format_other_files(self) -> str:
        """The part of a summary, after the number of failures, that says how many are not documents; '' if none."""
        return f", {self.beside:,} of which are no pages but describe a ZIM file" if self.beside else ""

    def format_skipped(self) -> str:
        """The part of a summary that says how many files and entries were skipped; '' if none."""
        text = f"; {counted(len(self.skipped), 'file')} skipped: links, pipes (see the log)" if self.skipped else ""
        return text + (f"; {counted(self.short, 'entry', 'entries')} with too little text" if self.short else "")

    def log(self, logger: logging.Logger, failure: str) -> None:
        """Log each document that could not be read, as a ``failure`` such as "not indexed", and each skipped file."""
        for path, reason in self.failed:
            logger.warning("%s: %s: %s", failure, path, reason)
        for path, reason in self.skipped:
            logger.info("skipped: %s: %s", path, reason)

    def count(self, before: str | None, now: str) -> None:
        """Count a document that was read, by its content hash before (None if it is new) and now."""
        if before is None:
            self.new += 1
        elif before != now:
            self.changed += 1
        else:
            self.unchanged += 1


class TooManyRemovedError(KbjobsError):
    """A run would remove a large share of a source, as an unmounted disk would cause."""


@dataclass(frozen=True, slots=True)
class Enumerated:
    """A source's files in order, single documents (``files``) and archives of many, and the scan that counts them."""

    source: Source
    scan: Scan = field(default_factory=Scan)
    files: list[FoundFile] = field(default_factory=list)
    archives: list[FoundFile] = field(default_factory=list)

    def add_vanished(self, known: Mapping[str, Known], doc_ids: list[str], allow_delete: bool) -> None:
        """Count documents as vanished, except those from a pack, whose files were never here.

        Args:
            known: the known documents, by id.
            doc_ids: the ids of documents that were not found.
            allow_delete: whether to accept any number of them.

        Raises:
            TooManyRemovedError: a large share of the source would be removed, as an unmounted disk would cause.
        """
        vanished = [doc_id for doc_id in doc_ids if known[doc_id].has_file]
        gone = len(self.scan.vanished) + len(vanished)
        if gone > MAX_REMOVED * len(known) and not allow_delete:
            raise TooManyRemovedError(
                f"{gone:,} of the {counted(len(known), 'document')} of {self.source.id!r} are gone, more than"
                f" {MAX_REMOVED:.0%}; nothing was removed",
                "Mount the disk or restore the files. If you want to delete the documents: kbjobs run metadata"
                f" {self.source.id} --allow-delete, then resume or retry this job.",
            )
        self.scan.vanished += vanished


def enumerate_source(
    context: Context,
    source: Source,
    known: Mapping[str, Known],
    limit: int | None,
    allow_delete: bool,
) -> Enumerated:
    """Find the source's files, and the known documents whose files have vanished.

    Documents that an archive no longer holds are found when the archive is read.

    Args:
        context: the phase's context.
        source: the source.
        known: the known documents, by id.
        limit: the most files, archives not counted; with a limit, no documents count as vanished. None for all.
        allow_delete: whether any number of documents may have vanished.

    Raises:
        UsageError: there are no files, and there never were any documents.
        TooManyRemovedError: a large share of the documents has vanished, without ``allow_delete``.
        JobCancelled: the job was asked to stop.
    """
    search: FileSearch = find_files([Path(path) for path in source.paths])
    found = Enumerated(source)
    unreadable = [entry.key for entry in _sort_files(context, found, search)]
    if not found.files and not found.archives and not known:
        raise _refuse_empty(found, search)
    if limit is not None:
        del found.files[limit:]
        return found
    seen = {
        document_id(source.id, key)
        for key in [*(file.key for file in found.files), *(key for key, _ in found.scan.failed)]
    }
    # All documents of an archive that is currently unreadable stay.
    held = tuple(f"{key}/" for key in [*(archive.key for archive in found.archives), *unreadable])
    vanished = [doc_id for doc_id, one in known.items() if doc_id not in seen and not one.path.startswith(held)]
    if vanished and not search.complete:
        context.log.warning(
            "%d documents were not found, but some folders could not be read: no document is removed", len(vanished)
        )
    else:
        found.add_vanished(known, vanished, allow_delete)
    return found


def _sort_files(context: Context, found: Enumerated, search: FileSearch) -> Iterator[SkippedFile]:
    """Sort each file into ``found``, and yield those that exist but cannot be read."""
    has_one_base = bool(found.source.base_url) and len(found.source.paths) > 1
    places: dict[str, str] = {}  # the key of each file, by its path below the base URL
    for number, entry in enumerate(search, start=1):
        if isinstance(entry, SkippedFile):
            (found.scan.failed if entry.still_there else found.scan.skipped).append((entry.key, entry.reason))
            if entry.still_there:
                yield entry
        elif entry.is_archive:
            found.archives.append(entry)
        elif has_one_base and (other := places.setdefault(entry.relative, entry.key)) != entry.key:
            found.scan.failed.append((entry.key, f"its URL would be that of {other}"))
        else:
            found.files.append(entry)
        if number % 1000 == 0:
            context.check()


def _refuse_empty(found: Enumerated, search: FileSearch) -> UsageError:
    source, failed = found.source, found.scan.failed
    detail = f"; {counted(search.ignored, 'file')} of other types" if search.ignored else ""
    detail += f"; {len(failed)} could not be opened ({failed[0][1]})" if failed else ""
    return UsageError(
        f"source {source.id!r} has no {READABLE} in {', '.join(source.paths)}{detail}",
        f"Check the folder, or give the source another one: kbjobs sources edit {source.id} --add PATH --drop PATH",
    )
