"""The tools that read: search, documents and sources. They keep what they have opened for the next call.

What they need is imported by the first call, not at the start of the server.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from kbjobs.assistant.foreign_text import ForeignMark, cut_into_parts, remove_hidden, shorten
from kbjobs.assistant.redaction import Redaction, public_address
from kbjobs.assistant.tool import AssistantTool, Name, SourceId, ToolArguments
from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError, NotFoundError
from kbjobs.retrieval.hits import Hit, Query
from kbjobs.services.search import open_searcher
from kbjobs.store.passages import Filter

if TYPE_CHECKING:
    from kbjobs.retrieval.searcher import Searcher

PART = 10_000  # characters of a document's text in one answer
TITLE = 300  # characters of a title that are shown
PASSAGE = 4_000  # characters of a passage that are shown
SNIPPET = 300  # characters of a document's beginning that are shown
Language = Annotated[str, Field(max_length=35, description="Only documents of this language, such as en or pt-br.")]


class SearchArguments(ToolArguments):
    """What to search for."""

    words: Annotated[str, Field(min_length=1, max_length=2_000, description="A question, or words to find.")]
    sources: list[SourceId] = Field([], max_length=1_000, description="Sources to search; by default all.")
    count: Annotated[int, Field(ge=1, le=50, description="Number of hits.")] = 10
    language: Language | None = None
    path: Annotated[Name | None, Field(description="Only documents whose path begins like this.")] = None
    mode: Annotated[
        Literal["hybrid", "vectors", "words"], Field(description="By meaning and words, or by one of them.")
    ] = "hybrid"


class ReadArguments(ToolArguments):
    """Which part of which document to read."""

    source: SourceId
    document: Annotated[
        str, Field(min_length=1, max_length=4_000, description="A document's id, as a hit has it, or its path or URL.")
    ]
    part: Annotated[int, Field(ge=1, le=2**31, description="Part of the text, from 1.")] = 1


class ListArguments(ToolArguments):
    """Which documents of a source to list."""

    source: SourceId
    language: Language | None = None
    tag: Annotated[Name | None, Field(description="Only documents of this category.")] = None
    start: Annotated[int, Field(ge=1, le=2**31, description="Which of the documents is listed first, from 1.")] = 1
    count: Annotated[int, Field(ge=1, le=200, description="Number of documents.")] = 50


class NoArguments(ToolArguments):
    """No arguments."""


class ReadingTools:
    """The tools that read a home. One search runs at a time; its indexes and models stay open until :meth:`close`.

    Args:
        home: the home.
        redaction: hides what messages must not say.
    """

    def __init__(self, home: Home, redaction: Redaction) -> None:
        self._home, self._redaction = home, redaction
        self._lock = threading.Lock()
        self._notices: list[str] = []
        self._searcher: Searcher | None = None
        self._read: tuple[tuple[str, str, str], list[str], str] | None = None  # the document that was read last

    def close(self) -> None:
        """Close indexes and models, once a search that is running has ended."""
        with self._lock:
            if self._searcher is not None:
                self._searcher.close()

    def tools(self) -> tuple[AssistantTool, ...]:
        """The tools, in the order in which they are listed."""
        return (
            AssistantTool(
                "search",
                "Search",
                "Find passages of the knowledge base by meaning and by words; the best passage of each document, best"
                " first. score is the cosine similarity of meaning, null if only words matched.",
                SearchArguments,
                self.search,
            ),
            AssistantTool(
                "read_document",
                "Read a document",
                "Read a document's text, one part at a time; parts says how many there are.",
                ReadArguments,
                self.read_document,
            ),
            AssistantTool(
                "list_sources",
                "List sources",
                "List the sources of the knowledge base, with their documents and languages.",
                NoArguments,
                self.list_sources,
            ),
            AssistantTool(
                "list_documents",
                "List documents",
                "List the documents of a source in order of path; next is the start of the next call.",
                ListArguments,
                self.list_documents,
            ),
        )

    def search(self, asked: SearchArguments) -> dict[str, Any]:
        """Search the sources."""
        which = Filter(asked.language.lower() if asked.language else None, asked.path)
        query = Query(asked.words, tuple(asked.sources), asked.count, None, asked.mode, which)
        with self._lock:
            if self._searcher is None:
                self._searcher = open_searcher(self._home, self._notices.append, self._note_damaged)
            self._notices.clear()
            self._searcher.forget_notices()
            hits = self._searcher.search(query)
            notices = self._redaction.hide_paths(list(self._notices))
        mark = ForeignMark()
        paths = self._find_paths(hits)
        return {
            "notice": mark.notice,
            "hits": [
                {
                    "rank": hit.rank,
                    "score": hit.score,
                    "source": hit.source,
                    "document": hit.doc_id,
                    "title": _title(hit.title),
                    "address": public_address(hit.url, paths.get((hit.source, hit.doc_id), hit.doc_id)),
                    "passage": mark.around(shorten(hit.text.removeprefix(hit.title).strip(), PASSAGE)),
                }
                for hit in hits
            ],
            "messages": notices,
        }

    def read_document(self, asked: ReadArguments) -> dict[str, Any]:
        """Read a part of a document's text."""
        from kbjobs.services import documents

        facts = documents.find_document(self._home, asked.source, asked.document)
        key = (asked.source, str(facts["doc_id"]), str(facts["content_hash"]))
        last = self._read
        if last is None or last[0] != key:
            text, message = self._read_text(asked.source, facts)
            last = self._read = (key, cut_into_parts(remove_hidden(text), PART), message)
        _, parts, message = last
        if asked.part > len(parts):
            raise NotFoundError(f"the document has no part {asked.part}", f"Its last part is {len(parts)}.")
        mark = ForeignMark()
        return {
            "notice": mark.notice,
            "source": asked.source,
            "document": facts["doc_id"],
            "title": _title(facts["title"]),
            "address": public_address(facts["url"], facts["path"]),
            "language": facts["language"],
            "part": asked.part,
            "parts": len(parts),
            "text": mark.around(parts[asked.part - 1]),
            "messages": [message] if message else [],
        }

    def list_sources(self, asked: NoArguments) -> dict[str, Any]:
        """List the sources, and the damaged ones with their errors."""
        from kbjobs.services import sources

        damaged: list[dict[str, str]] = []

        def note(source_id: str, error: KbjobsError) -> None:
            damaged.append({"source": source_id, **self._redaction.hide_paths({"error": error.message})})

        found = sources.describe_all(self._home, note)
        return {
            "sources": [
                {
                    "source": one.source.id,
                    "name": one.source.name,
                    "license": one.source.license,
                    "address": public_address(one.source.base_url, ""),
                    "tags": list(one.source.tags),
                    "documents": one.documents,
                    "languages": one.languages,
                    "indexed_with": [model.model for model in one.models if not model.cleared],
                }
                for one in found
            ],
            "damaged": damaged,
        }

    def list_documents(self, asked: ListArguments) -> dict[str, Any]:
        """List a source's documents."""
        from kbjobs.services import documents
        from kbjobs.store.document_filter import DocumentFilter

        wanted = DocumentFilter(asked.language.lower() if asked.language else None, asked.tag)
        first = asked.start - 1
        found = list(islice(documents.documents(self._home, asked.source, wanted), first, first + asked.count + 1))
        mark = ForeignMark()
        return {
            "notice": mark.notice,
            "source": asked.source,
            "documents": [
                {
                    "document": one["doc_id"],
                    "title": _title(one["title"]),
                    "address": public_address(one["url"], one["path"]),
                    "language": one["language"],
                    "published": one["published"] or None,
                    "words": one["words"],
                    "beginning": mark.around(shorten(one["snippet"], SNIPPET)) if one["snippet"] else None,
                }
                for one in found[: asked.count]
            ],
            "next": asked.start + asked.count if len(found) > asked.count else None,
        }

    def _note_damaged(self, source_id: str, error: KbjobsError) -> None:
        self._notices.append(f"Left out: source {source_id}: {error.message}")

    def _find_paths(self, hits: list[Hit]) -> dict[tuple[str, str], str]:
        """The paths of the documents whose address is no place on the web."""
        from kbjobs.services import documents

        wanted: dict[str, list[str]] = {}
        for hit in hits:
            if not public_address(hit.url, ""):
                wanted.setdefault(hit.source, []).append(hit.doc_id)
        return {
            (source_id, doc_id): path
            for source_id, doc_ids in wanted.items()
            for doc_id, path in documents.find_paths(self._home, source_id, doc_ids).items()
        }

    def _read_text(self, source_id: str, facts: dict[str, Any]) -> tuple[str, str]:
        """A document's text, and a message about it; without its file, the text of its passages."""
        from kbjobs.services import documents

        try:
            read = documents.read_text(self._home, source_id, facts["path"])
            problem = read.problem
        except NotFoundError as error:  # the folder, such as that of an installed pack, is not here
            problem = error.message
        else:
            if not problem:
                return "\n\n".join(_write_block(block.kind, block.level, block.text) for block in read.blocks), ""
        passages = documents.list_document_passages(self._home, source_id, facts["doc_id"])
        of_one = [one.text for one in passages if one.profile == passages[0].profile]
        if not of_one:
            raise NotFoundError(
                self._redaction.hide_paths(f"the document cannot be read: {problem}"), "Try another hit of the search."
            )
        text = "\n\n".join(one.removeprefix(facts["title"]).strip() for one in of_one)
        return text, "The document's file is not here: these are its indexed passages, which may overlap."


def _title(text: str) -> str:
    return shorten(" ".join(remove_hidden(text).split()), TITLE)


def _write_block(kind: str, level: int, text: str) -> str:
    return f"{'#' * level} {text}" if kind == "heading" and level else text
