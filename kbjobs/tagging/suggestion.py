"""A suggested tag as the manifest stores it. Light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kbjobs.store.tag_rows import TaggedDocument

EVIDENCE = 3
"""Most documents named for a tag."""


def make_tag(
    name: str, kind: str, score: float | None, documents: int, evidence: Sequence[tuple[TaggedDocument, float | None]]
) -> dict[str, Any]:
    """Make a suggested tag as it is written to the manifest.

    Args:
        name: the tag.
        kind: ``category``, ``novel`` or ``term``.
        score: how well it fits, None if that was not measured.
        documents: the number of documents that it describes.
        evidence: some of these documents, each with its score or None.
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
