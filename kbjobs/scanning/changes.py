"""Reading the new and possibly changed documents of a source, batch by batch, from files and archives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from kbjobs.content.document import document_id
from kbjobs.content.document_reading import Origin, check_web_url
from kbjobs.content.source_files import FoundFile, quote_key
from kbjobs.content.titles import read_title
from kbjobs.context import Context
from kbjobs.scanning.enumeration import Enumerated, FactStore, Known
from kbjobs.scanning.file_reading import ArchiveEntry, Read, Reader, Task, Unread, keeps_comments
from kbjobs.scanning.reading_pool import Outcomes, read_all
from kbjobs.scanning.title_samples import SAMPLE, TitleRules, sample_titles
from kbjobs.store.sources import Source

if TYPE_CHECKING:
    from kbjobs.content.zim import ZimFailure, ZimFile, ZimHeader, ZimItem

READ_BATCH = 32  # documents read, cut and committed together
BATCH_BYTES = 4 * 2**20  # most bytes of a batch of archive entries, since several batches are in memory
# From this much on, several reading processes are worthwhile: each takes half a second to start, and a page of 100 kB
# five milliseconds to read.
MUCH = 32 * 2**20  # bytes of files
MANY = 2_000  # entries of an archive
PAGE_TYPES = {"text/html": ".html", "application/xhtml+xml": ".xhtml", "text/plain": ".txt", "application/pdf": ".pdf"}
"""The media types that are read from an archive, and the suffix that decides how."""
MIN_TEXT_FACT = "minimum text length"
MIN_TEXT = 100
"""Least characters of text that make an archive's entry a document."""


@dataclass(frozen=True, slots=True)
class ScanScope:
    """How much of a source to scan.

    ``reread``: read all documents again; ``limit``: the number of documents after which to stop, and then none are
    removed; ``allow_delete``: allow the removal of a large share of the documents.
    """

    reread: bool = False
    limit: int | None = None
    allow_delete: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """Which changes to read, and for what.

    ``purpose`` names the use and the version of the reader: an archive that was read completely for the same purpose is
    not opened again. ``describes``: whether to read metadata; ``keeps_text``: whether to keep the text. ``sample``: the
    most files to read, and the number of entries of each archive to look at, spread evenly; for a forecast.
    """

    purpose: str
    describes: bool = False
    keeps_text: bool = False
    scope: ScanScope = ScanScope()
    sample: int | None = None

    @property
    def is_partial(self) -> bool:
        """Whether documents may be left out, so that a missing document proves nothing."""
        return self.scope.limit is not None or self.sample is not None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The documents to compare a source's files with: ``known`` holds them by id.

    ``is_current`` tells from a document's id and its file's signature whether it is up to date.
    """

    known: Mapping[str, Known]
    is_current: Callable[[str, str], bool]


class SourceChanges:
    """The documents that are new or may have changed.

    Args:
        context: the phase's context.
        found: the source's files; its scan counts what is unchanged, cannot be read or has vanished.
        comparison: the known documents to compare with.
        facts: records which archives were read completely.
        options: what to read.
        on_progress: called with the number of documents done and their total.
    """

    def __init__(
        self,
        context: Context,
        found: Enumerated,
        comparison: Comparison,
        facts: FactStore,
        options: Options,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self.found = found
        self._context, self._source = context, found.source
        self._known, self._is_current = comparison.known, comparison.is_current
        self._scan, self._facts, self._options = found.scan, facts, options
        self._on_progress = on_progress
        self._shares: dict[str, float] = {}  # how many files each file of a sample represents, by key
        self._share = 1.0  # the same for each entry of the current archive
        self._done, self._total = 0, len(found.files)
        self._read_whole: list[tuple[str, str]] = []
        self._nameless = 0  # number of entries whose path could not be read
        self._minimum = int(facts.fact(MIN_TEXT_FACT) or MIN_TEXT)
        self._titles = TitleRules(facts, is_new=not comparison.known or options.scope.reread)

    def batches(self) -> Iterator[list[Read]]:
        """Read documents and yield them in batches. Commit each batch before taking the next.

        Raises TooManyRemovedError if an archive has lost a large share of the source's documents.
        """
        changed = [file for file in self.found.files if not self._skip(self._id(file.key), file.signature)]
        if changed:
            self._titles.learn("", lambda: sample_titles(changed))
        chosen: Sequence[FoundFile] = changed
        if self._options.sample is not None:
            self._shares = choose_sample(changed, self._options.sample)
            chosen = [file for file in changed if file.key in self._shares]
        size = sum(file.size for file in chosen)
        for batch, outcomes in read_all(self._reader(), self._batch(chosen), size >= MUCH, self._context.check):
            yield [outcome for outcome in outcomes if isinstance(outcome, Read)]
            self._done += len(batch)
            for outcome in outcomes:
                if isinstance(outcome, Unread):
                    self._scan.failed.append((outcome.key, outcome.reason))
        for archive in self.found.archives:
            yield from self._read_archive(archive)
        self._on_progress(self._done, self._done)

    def stands_for(self, key: str) -> float:
        """How many documents a document of the last batch represents; in a sample it may be more than one."""
        return self._shares.get(key, self._share)

    def remember(self) -> None:
        """Record which archives were read completely; call it after vanished documents are removed."""
        for name, value in self._read_whole:
            self._facts.set_fact(name, value)
        if not self._options.is_partial:
            self._scan.remember(self._facts)
        if self._options.scope.limit is None:
            self._titles.finish()

    def _id(self, key: str) -> str:
        return document_id(self._source.id, key)

    def _skip(self, doc_id: str, signature: str) -> bool:
        if self._options.scope.reread or not self._is_current(doc_id, signature):
            return False
        self._scan.unchanged += 1
        self._done += 1
        return True

    def _reader(self) -> Reader:
        return Reader(
            self._source.id,
            self._source.base_url,
            self._titles.site,
            self._options.describes,
            self._options.keeps_text,
            self._context.settings.number("document_seconds"),
            keeps_comments(self._context.settings),
            engines=self._context.home.engines,
        )

    def _batch(self, files: Sequence[FoundFile]) -> Iterator[list[Task]]:
        for start in range(0, len(files), READ_BATCH):
            self._on_progress(self._done, self._total)
            yield list(files[start : start + READ_BATCH])

    def _read_archive(self, archive: FoundFile) -> Iterator[list[Read]]:
        from kbjobs.content.zim import ZimError, ZimFile

        prefix = f"{archive.key}/"
        mine = {doc_id for doc_id, known in self._known.items() if known.path.startswith(prefix)}
        signature = f"{archive.signature} {self._minimum}"
        marker = f"read {archive.key} for {self._options.purpose.partition(' ')[0]}"
        state = f"{signature} {self._options.purpose}"
        is_partial, self._share = self._options.is_partial, 1.0
        if not self._options.scope.reread and self._options.scope.limit is None and self._facts.fact(marker) == state:
            self._scan.unchanged += len(mine)
            self._done += len(mine)
            self._total += len(mine)
            return
        failures, nameless = len(self._scan.failed), self._nameless
        seen: set[str] = set()
        try:
            with ZimFile(archive.path, check=self._context.check) as zim:
                entries = zim.header.article_count or zim.header.entry_count
                self._total += entries
                if self._options.sample is not None:
                    self._share = max(1.0, zim.header.all_entry_count / self._options.sample)
                self._titles.learn(archive.key, lambda: sample_archive(zim))
                batches = self._batch_entries(archive, zim, signature, seen)
                is_large = entries >= MANY and not is_partial
                for _, outcomes in read_all(self._reader(), batches, is_large, self._context.check):
                    read = self._choose(outcomes, seen)
                    self._on_progress(self._done, max(self._total, self._done))
                    if read:
                        yield read
                    self._done += len(read)
        except ZimError as error:
            self._scan.failed.append((archive.key, str(error)))
            return
        if is_partial:
            return
        if len(self._scan.failed) == failures:
            self._read_whole.append((marker, state))
        gone = [doc_id for doc_id in mine if doc_id not in seen]
        if gone and self._nameless > nameless:
            self._context.log.warning(
                "%d documents of %s were not found, but the names of some entries could not be read: none is removed",
                len(gone),
                archive.key,
            )
            return
        self.found.add_vanished(self._known, gone, self._options.scope.allow_delete)

    def _batch_entries(self, archive: FoundFile, zim: ZimFile, signature: str, seen: set[str]) -> Iterator[list[Task]]:
        """Yield the entries to read, and add the ids of unchanged and unreadable ones to ``seen``."""
        from kbjobs.content.zim import ZimFailure, ZimRedirect

        batch: list[Task] = []
        size = 0
        sample = None if self._share == 1 else self._options.sample
        for item in zim.entries(wanted=frozenset(PAGE_TYPES), sample=sample):
            self._context.check()
            if self._options.scope.limit is not None and self._done >= self._options.scope.limit:
                break
            if isinstance(item, ZimRedirect):
                continue
            key = f"{archive.key}/{quote_key(item.path)}"
            doc_id = self._id(key)
            if isinstance(item, ZimFailure):
                self._note_failure(archive.key, key, item)
                if item.is_content:
                    seen.add(doc_id)
            elif item.data is None:
                if item.mimetype in PAGE_TYPES:
                    self._scan.failed.append((key, f"too large: {item.size / 2**20:,.0f} MiB"))
                    seen.add(doc_id)
            elif self._skip(doc_id, signature):
                seen.add(doc_id)
            else:
                batch.append(make_entry(self._source, archive, zim.header, item, signature))
                size += len(item.data)
                if len(batch) == READ_BATCH or size > BATCH_BYTES or self._options.scope.limit is not None:
                    yield batch
                    batch, size = [], 0
        yield batch

    def _note_failure(self, archive: str, key: str, failure: ZimFailure) -> None:
        self._nameless += not failure.is_named
        if failure.is_content:
            self._scan.failed.append((key, failure.reason))
        else:
            reason = f"{quote_key(failure.path)}, which is no page but describes the file: {failure.reason}"
            self._scan.failed.append((archive, reason))
            self._scan.beside += 1

    def _choose(self, outcomes: Outcomes, seen: set[str]) -> list[Read]:
        """Select the archive's entries that are documents because they have enough text."""
        read = []
        for outcome in outcomes:
            if isinstance(outcome, Unread):
                if outcome.is_empty:
                    self._scan.short += 1
                    continue
                self._scan.failed.append((outcome.key, outcome.reason))
                seen.add(self._id(outcome.key))
            elif outcome.characters < self._minimum:
                self._scan.short += 1
            else:
                seen.add(outcome.document.doc_id)
                read.append(outcome)
        return read


def make_entry(source: Source, archive: FoundFile, header: ZimHeader, item: ZimItem, signature: str) -> ArchiveEntry:
    """Make the reading task for an archive's entry.

    Args:
        source: the source.
        archive: the archive's file.
        header: the archive's header.
        item: the entry, of one of :data:`PAGE_TYPES`.
        signature: the signature to record for the document.
    """
    base = source.base_url or check_web_url(header.source) or ""
    url = f"{base.rstrip('/')}/{quote(item.path)}" if base else ""
    page_url = url or archive_address(archive, item.path)
    key = f"{archive.key}/{quote_key(item.path)}"
    origin = Origin(key, item.title or item.path, url, page_url, base or None, header.language)
    return ArchiveEntry(origin, item.data or b"", PAGE_TYPES[item.mimetype], signature)


def choose_sample(files: Sequence[FoundFile], max_files: int) -> dict[str, float]:
    """Choose about ``max_files`` files; returns their keys, each with the number of files it represents.

    The choice is deterministic. A file's chance is proportional to its size, because most counts are: a large file is
    always chosen and represents itself, and a small one represents many.
    """
    if len(files) <= max_files:
        return {file.key: 1.0 for file in files}
    ordered = sorted(files, key=lambda file: (-file.size, file.key))
    left, places = sum(max(file.size, 1) for file in files), max_files
    chosen: dict[str, float] = {}
    reached, target = 0.0, 0.5
    for file in ordered:
        size = max(file.size, 1)
        if size * places >= left and places:  # at least as large as its share of the places
            chosen[file.key] = 1.0
            left, places = left - size, places - 1
            continue
        step = left / places if places else float("inf")
        reached += size / step
        if reached >= target:
            chosen[file.key] = step / size
            target += 1.0
    return chosen


def archive_address(archive: FoundFile, path: str) -> str:
    """A substitute for the address of an entry without one: its path below the archive's file."""
    return f"file://{quote(os.fsencode(archive.path))}/{quote(path)}"


def sample_archive(zim: ZimFile) -> list[str]:
    """The titles of some HTML pages of an archive; more entries are tried, since many may be pictures."""
    from kbjobs.content.zim import ZimItem

    items = zim.entries(wanted=frozenset({"text/html"}), sample=4 * SAMPLE)
    return [read_title(item.data) for item in items if isinstance(item, ZimItem) and item.data][:SAMPLE]
