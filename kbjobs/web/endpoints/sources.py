"""Sources: list and show them, their indexes and suggested tags; search."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field

from kbjobs.errors import KbjobsError
from kbjobs.retrieval import hits
from kbjobs.services import sources, tags
from kbjobs.services.search import search_home
from kbjobs.store.document_filter import DocumentFilter
from kbjobs.store.passages import Filter
from kbjobs.web.endpoint import Body, Call, Endpoint, QueryParams

Name = Annotated[str, Field(max_length=200)]


class SearchQuery(QueryParams):
    """The options of kbjobs search."""

    words: Annotated[str, Field(min_length=1, max_length=2_000)]
    source: Name | None = None
    count: Annotated[int, Field(ge=1, le=100)] = 10
    model: Name | None = None
    mode: Literal["hybrid", "vectors", "words"] = "hybrid"
    language: Name | None = None
    tag: Name | None = None
    since: Name | None = None
    until: Name | None = None
    type: Name | None = None


class ReviewBody(Body):
    """Suggested tags to take over, and to reject."""

    accept: list[Name] = Field(default_factory=list, max_length=1000)
    reject: list[Name] = Field(default_factory=list, max_length=1000)


def list_sources(asked: Call) -> Any:
    """List all sources, and the damaged ones with their errors."""
    damaged: list[dict[str, str]] = []

    def note(source_id: str, error: KbjobsError) -> None:
        damaged.append({"id": source_id, "message": error.message, "hint": error.hint})

    return {"sources": [one.as_dict() for one in sources.describe_all(asked.home, note)], "damaged": damaged}


def show_source(asked: Call) -> Any:
    """Show a source and the contents of its ledger, and whether it has a map."""
    found = sources.describe(asked.home, asked.path["source"])
    return {**found.as_dict(), "map": asked.home.map_page(found.source.id).exists()}


def show_indexes(asked: Call) -> Any:
    """Show a source's index for each model: its passages, those indexed and missing, and its store."""
    found = sources.describe(asked.home, asked.path["source"])
    return {
        "source": found.source.id,
        "documents": found.documents,
        "indexes": [asdict(one) for one in sources.list_indexes(asked.home, found.source.id)],
    }


def review_tags(asked: Call) -> Any:
    """Accept or reject suggested tags."""
    body: ReviewBody = asked.body
    done = tags.review_tags(asked.home, asked.path["source"], body.accept, body.reject)
    return done.as_dict()


def search(asked: Call) -> Any:
    """Search for passages by words."""
    query: SearchQuery = asked.query
    notices: list[str] = []

    only = (query.source,) if query.source else ()
    wanted = hits.Query(
        query.words,
        only,
        query.count,
        query.model or None,
        query.mode,
        Filter(query.language.lower() if query.language else None),
        documents=DocumentFilter(None, query.tag, query.since, query.until, query.type).check(),
    )
    found = search_home(asked.home, wanted, notices)
    return {"hits": [asdict(hit) for hit in found], "notices": notices}


OF_SEARCH = (
    Endpoint("GET", "/api/sources", "All sources", list_sources),
    Endpoint("GET", "/api/search", "Search one source or all", search, SearchQuery, errors=(404, 409, 424)),
)
ENDPOINTS = (
    *OF_SEARCH,
    Endpoint("GET", "/api/sources/{source}", "One source", show_source, errors=(404,)),
    Endpoint("GET", "/api/sources/{source}/indexes", "A source's indexes", show_indexes, errors=(404,)),
    Endpoint("POST", "/api/sources/{source}/tags", "Take over or reject suggested tags", review_tags, body=ReviewBody,
             errors=(404, 409)),
)  # fmt: skip
