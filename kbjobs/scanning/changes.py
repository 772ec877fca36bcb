"""Reading what is new or may have changed of a source, batch by batch: from files, and from archives of documents."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from kbjobs.content.document import Document, EmptyDocument, UnreadableDocument, document_id
from kbjobs.content.files import FoundFile, quote_key
from kbjobs.content.reading import check_web_url, extract_page, make_document, read_document
from kbjobs.content.titles import read_title
from kbjobs.context import Context
from kbjobs.scanning.enumerating import Enumerated, Known, Scan, add_vanished
from kbjobs.scanning.titles import SAMPLE, Facts, TitleRules, sample_titles
from kbjobs.store.sources import Source

if TYPE_CHECKING:
    from kbjobs.content.zim import ZimFile, ZimHeader, ZimItem

READ_BATCH = 32  # documents read, cut and committed together
# A file written within this time of its look at may be written again within the clock's grain, with the same
# size and times; its signature is not trusted. Two seconds is the coarsest grain in use (FAT).
SETTLED_NS = 2_000_000_000
PAGE_TYPES = {"text/html": ".html", "application/xhtml+xml": ".xhtml", "text/plain": ".txt", "application/pdf": ".pdf"}
"""What is read of an archive, and as what."""
MIN_TEXT_FACT = "minimum text length"
MIN_TEXT = 100
"""Characters that an archive's entry has at least, if it is to be a document."""


@dataclass(frozen=True, slots=True)
class Options:
    """``reread`` reads all again; ``limit`` ends after so many documents, of which none is then removed.

    ``purpose`` names what they are read for and with which version: an archive that was read whole for the same
    is not opened again.
    """

    purpose: str
    reread: bool = False
    limit: int | None = None
    allow_delete: bool = False


class Changes:
    """The documents that are new or may have changed. ``scan`` is told what is unchanged, cannot be read or is gone.

    Args:
        context: progress, and the wish to stop.
        source: the source.
        found: its files.
        known: what is known of each document, by id.
        is_current: whether a known document is as it should be, given the signature of its file.
        scan: what is counted.
        facts: where is remembered which archives were read whole.
        options: what is read.
        on_progress: is told how many documents are done, of how many.
    """

    def __init__(
        self,
        context: Context,
        source: Source,
        found: Enumerated,
        known: Mapping[str, Known],
        is_current: Callable[[str, str], bool],
        scan: Scan,
        facts: Facts,
        options: Options,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self.found = found
        self._context, self._source, self._known = context, source, known
        self._is_current, self._scan, self._facts, self._options = is_current, scan, facts, options
        self._on_progress = on_progress
        self._done, self._total = 0, len(found.files)
        self._read_whole: list[tuple[str, str]] = []
        self._minimum = int(facts.fact(MIN_TEXT_FACT) or MIN_TEXT)
        self._titles = TitleRules(facts, is_new=not known or options.reread)

    def batches(self) -> Iterator[list[tuple[Document, str]]]:
        """Documents with the signatures of their files. What was given is to be committed before the next is asked for.

        Raises TooManyRemovedError where an archive has lost more than can be meant.
        """
        changed = [file for file in self.found.files if not self._skip(self._id(file.key), file.signature)]
        if changed:
            self._titles.learn("", lambda: sample_titles(changed))
        for start in range(0, len(changed), READ_BATCH):
            self._on_progress(self._done, self._total)
            batch = changed[start : start + READ_BATCH]
            yield list(self._read_files(batch))
            self._done += len(batch)
        for archive in self.found.archives:
            yield from self._read_archive(archive)
        self._on_progress(self._done, self._done)

    def remember(self) -> None:
        """Note which archives were read whole, once what they have lost is removed."""
        for name, value in self._read_whole:
            self._facts.set_fact(name, value)
        if self._options.limit is None:
            self._titles.finish()

    def _id(self, key: str) -> str:
        return document_id(self._source.id, key)

    def _skip(self, doc_id: str, signature: str) -> bool:
        if self._options.reread or not self._is_current(doc_id, signature):
            return False
        self._scan.unchanged += 1
        self._done += 1
        return True

    def _read_files(self, files: Sequence[FoundFile]) -> Iterator[tuple[Document, str]]:
        for file in files:
            self._context.check()
            settled = time.time_ns() - SETTLED_NS > file.mtime_ns
            try:
                document = read_document(file, self._source.id, self._source.base_url, self._titles.site)
            except UnreadableDocument as error:
                self._scan.failed.append((error.key, error.reason))
            else:
                yield document, file.signature if settled else ""

    def _read_archive(self, archive: FoundFile) -> Iterator[list[tuple[Document, str]]]:
        from kbjobs.content.zim import ZimError, ZimFailure, ZimFile, ZimRedirect

        prefix = f"{archive.key}/"
        mine = {doc_id for doc_id, known in self._known.items() if known.path.startswith(prefix)}
        signature = f"{archive.signature} {self._minimum}"
        marker = f"read {archive.key} for {self._options.purpose.partition(' ')[0]}"
        state = f"{signature} {self._options.purpose}"
        if not self._options.reread and self._options.limit is None and self._facts.fact(marker) == state:
            self._scan.unchanged += len(mine)
            self._done += len(mine)
            self._total += len(mine)
            return
        failures = len(self._scan.failed)
        seen: set[str] = set()
        batch: list[tuple[Document, str]] = []
        try:
            with ZimFile(archive.path) as zim:
                self._total += zim.header.article_count or zim.header.entry_count
                self._titles.learn(archive.key, lambda: sample_archive(zim))
                for item in zim.entries(wanted=frozenset(PAGE_TYPES)):
                    self._context.check()
                    if self._options.limit is not None and self._done + len(batch) >= self._options.limit:
                        break
                    if isinstance(item, ZimRedirect):
                        continue
                    key = prefix + quote_key(item.path)
                    doc_id = self._id(key)
                    if isinstance(item, ZimFailure):
                        self._scan.failed.append((key, item.reason))
                        seen.add(doc_id)
                        continue
                    if item.data is None:
                        if item.mimetype in PAGE_TYPES:
                            self._scan.failed.append((key, f"too large: {item.size / 2**20:,.0f} MiB"))
                            seen.add(doc_id)
                        continue
                    if self._skip(doc_id, signature):
                        seen.add(doc_id)
                        continue
                    try:
                        document = self._make(archive, zim.header, key, item)
                    except EmptyDocument:
                        self._scan.short += 1
                        continue
                    except UnreadableDocument as error:
                        self._scan.failed.append((error.key, error.reason))
                        seen.add(doc_id)
                        continue
                    if sum(len(block.text) for block in document.blocks) < self._minimum:
                        self._scan.short += 1
                        continue
                    seen.add(doc_id)
                    batch.append((document, signature))
                    if len(batch) == READ_BATCH:
                        self._on_progress(self._done, max(self._total, self._done))
                        yield batch
                        self._done += len(batch)
                        batch = []
        except ZimError as error:
            self._scan.failed.append((archive.key, str(error)))
            return
        if batch:
            yield batch
            self._done += len(batch)
        if self._options.limit is not None:
            return
        if len(self._scan.failed) == failures:
            self._read_whole.append((marker, state))
        gone = [doc_id for doc_id in mine if doc_id not in seen]
        add_vanished(self._source, self._known, self._scan, gone, self._options.allow_delete)

    def _make(self, archive: FoundFile, header: ZimHeader, key: str, item: ZimItem) -> Document:
        base = self._source.base_url or check_web_url(header.source) or ""
        url = f"{base.rstrip('/')}/{quote(item.path)}" if base else ""
        page_url = url or archive_address(archive, item.path)
        extract = extract_page(key, item.data or b"", PAGE_TYPES[item.mimetype])
        name = item.title or item.path
        language, titles = header.language, self._titles.site
        return make_document(self._source.id, key, extract, name, url, page_url, base or None, language, titles)


def archive_address(archive: FoundFile, path: str) -> str:
    """What stands for the address of an entry that has none: its place below the archive's file."""
    return f"file://{quote(os.fsencode(archive.path))}/{quote(path)}"


def sample_archive(zim: ZimFile) -> list[str]:
    """The titles of some of an archive's HTML pages, among whose entries may be many pictures."""
    from kbjobs.content.zim import ZimItem

    items = zim.entries(wanted=frozenset({"text/html"}), sample=4 * SAMPLE)
    return [read_title(item.data) for item in items if isinstance(item, ZimItem) and item.data][:SAMPLE]
