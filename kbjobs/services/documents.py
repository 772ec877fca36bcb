"""The documents of a source: their list, their texts, and the files and addresses that became no document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.content.document import Block
from kbjobs.content.left_out import LeftOutText
from kbjobs.errors import NotFoundError
from kbjobs.scanning.enumeration import read_left_out
from kbjobs.scanning.file_reading import Unread
from kbjobs.scanning.one_document import read_one
from kbjobs.store.document_filter import DocumentFilter
from kbjobs.store.document_passages import StoredPassage, list_passages
from kbjobs.store.frontier import Frontier
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_copy import open_ledger
from kbjobs.store.metadata import count_years, find_doc_id, list_documents, number_of
from kbjobs.store.sources import SourceFolder

MAX_LEFT_OUT = 10_000  # most addresses of a scrape


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An address or file that became no document, and the reason; ``is_failure``: it should have become one."""

    is_failure: bool
    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class DocumentText:
    """A document's text, read again from its file.

    Args:
        blocks: the text; empty if the file cannot be read.
        problem: why the file could not be read; '' if it was read.
        left_out: the parts of an HTML page that are not kept, each with the reason, if requested.
    """

    blocks: tuple[Block, ...] = ()
    problem: str = ""
    left_out: tuple[LeftOutText, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """A document's facts, passages and current text.

    Args:
        facts: what is known of it, as from :func:`documents`.
        passages: its passages as cut and embedded, grouped by profile.
        read: its current text.
    """

    facts: dict[str, Any]
    passages: tuple[StoredPassage, ...]
    read: DocumentText

    def as_dict(self) -> dict[str, Any]:
        """The document as JSON values."""
        return {
            **self.facts,
            "text": [{"kind": block.kind, "level": block.level, "text": block.text} for block in self.read.blocks],
            "problem": self.read.problem or None,
            "passages": [asdict(passage) for passage in self.passages],
            "left_out": [one._asdict() for one in self.read.left_out],
        }


def documents(home: Home, source_id: str, wanted: DocumentFilter | None = None) -> Iterator[dict[str, Any]]:
    """What is known of each document of a source, in order of path; empty if no job has read the source yet.

    Each document has its ``number`` in the list of all, from 1.

    Args:
        home: the source's home.
        source_id: the source's id.
        wanted: which documents; None for all.

    Raises:
        NotFoundError: there is no such source.
    """
    folder = SourceFolder(home.sources, source_id)
    folder.read()
    if not folder.ledger.exists():
        return
    with open_ledger(folder.ledger) as ledger:
        for number, document in enumerate(list_documents(ledger), start=1):
            if wanted is None or wanted.matches(document):
                yield {"number": number, **document}


def find_document(home: Home, source_id: str, name: str) -> dict[str, Any]:
    """What is known of one document.

    Args:
        home: the source's home.
        source_id: the source's id.
        name: the document's id, path, URL, or number in the list.

    Raises:
        NotFoundError: there is no such source, or no such document in it.
    """
    folder = SourceFolder(home.sources, source_id)
    folder.read()
    if folder.ledger.exists():
        with open_ledger(folder.ledger) as ledger:
            doc_id = find_doc_id(ledger, name)
            for document in [] if doc_id is None else list_documents(ledger, [doc_id]):
                return {"number": number_of(ledger, document["path"]), **document}
    raise NotFoundError(
        f"source {source_id!r} has no document {name!r}",
        f"Name it by number, id, path or URL: kbjobs documents list {source_id}",
    )


def find_paths(home: Home, source_id: str, doc_ids: Sequence[str]) -> dict[str, str]:
    """The paths within their source of those of the documents that it still has, by id.

    Args:
        home: the source's home.
        source_id: the source's id.
        doc_ids: the documents' ids.
    """
    folder = SourceFolder(home.sources, source_id)
    if not folder.ledger.exists():
        return {}
    with open_ledger(folder.ledger) as ledger:
        return {document["doc_id"]: document["path"] for document in list_documents(ledger, doc_ids)}


def show_document(home: Home, source_id: str, name: str, *, explains: bool = False) -> ShownDocument:
    """Show a document: its text, read again from its file, and its passages.

    Args:
        home: the source's home.
        source_id: the source's id.
        name: see :func:`find_document`.
        explains: whether to list the parts of an HTML page that are not kept.

    Raises:
        NotFoundError: there is no such source, or no such document in it.
    """
    facts = find_document(home, source_id, name)
    passages = list_document_passages(home, source_id, facts["doc_id"])
    return ShownDocument(facts, passages, read_text(home, source_id, facts["path"], explains=explains))


def list_document_passages(home: Home, source_id: str, doc_id: str) -> tuple[StoredPassage, ...]:
    """The passages of a document as cut and embedded, grouped by profile.

    Args:
        home: the source's home.
        source_id: the source's id.
        doc_id: the document's id.
    """
    with open_ledger(SourceFolder(home.sources, source_id).ledger) as ledger:
        return tuple(list_passages(ledger, doc_id))


def read_text(home: Home, source_id: str, path: str, *, explains: bool = False) -> DocumentText:
    """Read a document again from its file. This takes a third of a second, because it starts a process.

    Args:
        home: the source's home.
        source_id: the source's id.
        path: the document's path within the source.
        explains: whether to list the parts of an HTML page that are not kept.

    Raises:
        KbjobsError: the source or its archive cannot be read.
    """
    source = SourceFolder(home.sources, source_id).read()
    read = read_one(source, path, Settings(home), explains=explains)
    if isinstance(read, Unread):
        return DocumentText(problem=read.reason)
    return DocumentText(read.document.blocks, "", read.left_out)


def count_by_year(home: Home, source_id: str) -> dict[int, int]:
    """The number of a source's documents published in each year. Raises NotFoundError."""
    folder = SourceFolder(home.sources, source_id)
    folder.read()
    if not folder.ledger.exists():
        return {}
    with open_ledger(folder.ledger) as ledger:
        return count_years(ledger)


def list_left_out(home: Home, source_id: str) -> list[LeftOut]:
    """The addresses, files and archive entries of a source that became no document, each with the reason."""
    folder = SourceFolder(home.sources, source_id)
    folder.read()
    found: list[tuple[str, str, str]] = []
    if folder.frontier.exists():
        with Frontier(folder.frontier) as frontier:
            found += frontier.left_out(MAX_LEFT_OUT)
    if folder.ledger.exists():
        with Ledger(folder.ledger) as ledger:
            found += read_left_out(ledger)
    return [LeftOut(state == "failed", place, reason) for state, place, reason in found]
