"""A suggested tag as it stands in the manifest. Light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kbjobs.store.tag_rows import TaggedDocument

EVIDENCE = 3
"""Documents named for a tag, at most."""


def make_tag(
    name: str, kind: str, score: float | None, documents: int, evidence: Sequence[tuple[TaggedDocument, float | None]]
) -> dict[str, Any]:
    """A tag of a kind (category, novel, term) with its score, how many documents it is of, and some that speak for it.

    A score is None where nothing was measured.
    """
    return {
        "tag": name,
        "kind": kind,
        "score": _round(score),
        "documents": documents,
        "evidence": [
            {"doc_id": document.doc_id, "title": document.title, "url": document.url, "score": _round(one)}
            for document, one in evidence
        ],
    }


def _round(score: float | None) -> float | None:
    return None if score is None else round(score, 4)
