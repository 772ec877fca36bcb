"""Documents: list those of a source, and show one with its text and passages."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

from pydantic import Field

from kbjobs.services import documents
from kbjobs.store.document_filter import DocumentFilter
from kbjobs.web.endpoint import Call, Endpoint, QueryParams

Text = Annotated[str, Field(max_length=200)]


class DocumentsQuery(QueryParams):
    """The filters of kbjobs documents list, and which part of the list to send."""

    language: Text | None = None
    tag: Text | None = None
    since: Text | None = None
    until: Text | None = None
    type: Text | None = None
    start: Annotated[int, Field(ge=1, le=2**53)] = 1
    count: Annotated[int, Field(ge=1, le=1_000)] = 100


def list_documents(asked: Call) -> Any:
    """List a source's documents that match, in order of path; ``next`` is the start of the next request."""
    query: DocumentsQuery = asked.query
    wanted = DocumentFilter(query.language or None, query.tag or None, query.since, query.until, query.type).check()
    matching = documents.documents(asked.home, asked.path["source"], wanted)
    found = list(islice(matching, query.start - 1, query.start + query.count))
    following = query.start + query.count if len(found) > query.count else None
    return {"source": asked.path["source"], "documents": found[: query.count], "next": following}


def show_document(asked: Call) -> Any:
    """Show a document, named by its id or number, with its text as it is read now."""
    return documents.show_document(asked.home, asked.path["source"], asked.path["document"]).as_dict()


ENDPOINTS = (
    Endpoint("GET", "/api/sources/{source}/documents", "A source's documents", list_documents, DocumentsQuery,
             errors=(404,)),
    Endpoint("GET", "/api/sources/{source}/documents/{document}", "One document, its text and passages", show_document,
             errors=(404,)),
)  # fmt: skip
