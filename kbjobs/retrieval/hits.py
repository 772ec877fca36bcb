"""What a search is asked for, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["hybrid", "vectors", "words"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: ``count`` hits for the words, in one source or (None) in all.

    ``model`` is the name of the one whose vectors are compared; None for that which the sources were indexed with.
    """

    words: str
    source_id: str | None = None
    count: int = 10
    model: str | None = None
    mode: Mode = "hybrid"


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found, the best of its document.

    ``rank`` counts from 1 and orders; ``score`` is the cosine similarity to the query, None where only words matched;
    ``model`` is what computed it, None where none did; ``mode`` is how it was looked for; ``matched`` are words of the
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
