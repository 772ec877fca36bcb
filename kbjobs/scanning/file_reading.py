"""Reading one document after another: the reader, its tasks and its outcomes.

Readers work in separate processes (:mod:`kbjobs.scanning.reading_pool`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kbjobs.config.settings import Settings
from kbjobs.content.document import Document, EmptyDocument, UnreadableDocument
from kbjobs.content.document_metadata import Metadata, read_metadata
from kbjobs.content.document_reading import (
    DOCUMENT_SECONDS,
    Origin,
    extract_page,
    make_document,
    max_seconds,
    read_bytes,
    read_document,
)
from kbjobs.content.encoding import decode_page
from kbjobs.content.source_files import HTML_SUFFIXES, FoundFile
from kbjobs.content.titles import SiteTitles

if TYPE_CHECKING:
    from kbjobs.content.left_out import LeftOutText

SETTLED_NS = 2_000_000_000
"""The signature of a file written this shortly before is not trusted: another write within the clock's resolution may
leave size and times equal. Two seconds is the coarsest resolution in use (FAT)."""


def keeps_comments(settings: Settings) -> bool:
    """Whether visitors' comments are kept as part of a page's text."""
    return settings.text("comments") == "keep"


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """An archive's entry to read: its bytes, the file suffix of its type, and the archive's signature."""

    origin: Origin
    data: bytes
    suffix: str
    signature: str

    @property
    def key(self) -> str:
        """The entry's key within its source."""
        return self.origin.key


Task = FoundFile | ArchiveEntry


@dataclass(frozen=True, slots=True)
class Read:
    """A document with the signature of its file ('' if it cannot be trusted), and its metadata if requested.

    ``characters`` is the length of its text, even if the text was not kept; ``left_out`` lists the parts of an HTML
    page that are not kept, with the reasons, if requested.
    """

    document: Document
    signature: str
    characters: int
    metadata: Metadata | None
    left_out: tuple[LeftOutText, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """A document that could not be read, and the reason; ``is_empty``: it was readable but has no words."""

    key: str
    reason: str
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the documents of a source.

    ``titles`` are the parts that its pages' titles repeat; ``describes``: whether to read metadata; ``keeps_text``:
    whether to return the text; ``document_seconds`` is the setting ``document_seconds``; ``keeps_comments`` is the
    setting ``comments``; ``explains``: whether to list the parts that are left out; ``engines`` is the home's folder of
    prepared models, which the language detector is one of.
    """

    source_id: str
    base_url: str | None
    titles: SiteTitles
    describes: bool
    keeps_text: bool
    document_seconds: float = DOCUMENT_SECONDS
    keeps_comments: bool = False
    explains: bool = False
    engines: Path | None = None

    def seconds(self, task: Task) -> float:
        """The most processor time that reading the document may take, in seconds."""
        return max_seconds(len(task.data) if isinstance(task, ArchiveEntry) else task.size, self.document_seconds)

    def read(self, task: Task) -> Read | Unread:
        """Read the document of a file or an entry; returns it, or the reason why there is none."""
        signature = task.signature
        try:
            if isinstance(task, ArchiveEntry):
                extract = extract_page(task.key, task.data, task.suffix, keeps_comments=self.keeps_comments)
                document = make_document(self.source_id, extract, task.origin, self.titles)
            else:
                signature = signature if time.time_ns() - SETTLED_NS > task.mtime_ns else ""
                document = read_document(
                    task, self.source_id, self.base_url, self.titles, keeps_comments=self.keeps_comments
                )
        except UnreadableDocument as error:
            return Unread(error.key, error.reason, isinstance(error, EmptyDocument))
        except MemoryError:
            return Unread(task.key, "it takes too much memory to read")
        metadata = read_metadata(document) if self.describes else None
        characters = sum(len(block.text) for block in document.blocks)
        kept = document if self.keeps_text else document.without_text()
        return Read(kept, signature, characters, metadata, self._explain(task) if self.explains else ())

    def _explain(self, task: Task) -> tuple[LeftOutText, ...]:
        from kbjobs.content.left_out import list_left_out

        suffix = task.suffix if isinstance(task, ArchiveEntry) else task.path.suffix.lower()
        if suffix not in HTML_SUFFIXES:
            return ()
        page = decode_page(task.data if isinstance(task, ArchiveEntry) else read_bytes(task))
        return tuple(list_left_out(page.encode("utf-8", "replace"), suffix == ".xhtml", self.keeps_comments))
