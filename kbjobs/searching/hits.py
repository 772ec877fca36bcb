"""What a search gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["hybrid", "vectors", "words"]
MODES: tuple[str, ...] = get_args(Mode)


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
