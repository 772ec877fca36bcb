"""What a search is asked for, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from kbjobs.store.passages import Filter

Mode = Literal["hybrid", "vectors", "words"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Args:
        words: any text.
        sources: ids; none for all sources.
        count: how many hits, from 1.
        model: its name; None for the one that the sources were indexed with.
        mode: by vectors and words, or by one of them.
        which: which documents count.
        passages: a document may be among the hits several times.
    """

    words: str
    sources: tuple[str, ...] = ()
    count: int = 10
    model: str | None = None
    mode: Mode = "hybrid"
    which: Filter = field(default_factory=Filter)
    passages: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found, the best of its document.

    ``rank`` counts from 1 and orders; ``score`` is the cosine similarity to the query, None if only words matched;
    ``model`` is what computed it, None if none did; ``mode`` is how it was looked for; ``matched`` are words of the
    passage that are the query's; ``more`` counts further passages of the document that were found.
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
