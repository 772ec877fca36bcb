"""A search's query and its hits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from kbjobs.store.document_filter import DocumentFilter
from kbjobs.store.passages import Filter

Mode = Literal["hybrid", "vectors", "words"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Query:
    """A query.

    Args:
        words: any text.
        sources: ids of sources; empty for all.
        count: how many hits, from 1.
        model: the name of a model; None for the one that the sources were indexed with.
        mode: search by vectors and words, or only one of them.
        which: which documents count.
        passages: whether a document may have several hits.
        documents: which documents count, by what the metadata job has read of them.
    """

    words: str
    sources: tuple[str, ...] = ()
    count: int = 10
    model: str | None = None
    mode: Mode = "hybrid"
    which: Filter = field(default_factory=Filter)
    passages: bool = False
    documents: DocumentFilter = field(default_factory=DocumentFilter)


@dataclass(frozen=True, slots=True)
class Hit:
    """A found passage, the best of its document.

    ``rank`` orders the hits, from 1; ``score`` is the cosine similarity to the query, None if only words matched;
    ``model`` computed it, None if none did; ``mode`` is how the search was done; ``matched`` are the words of the
    passage that match the query's; ``more`` counts further passages found in the document.
    """

    rank: int
    score: float | None
    source: str
    doc_id: str
    title: str
    url: str
    text: str
    model: str | None
    mode: Mode
    matched: tuple[str, ...] = ()
    more: int = 0
