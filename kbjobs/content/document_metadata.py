"""Facts about a document that spare reading it: snippet, outline, length, language."""

from __future__ import annotations

from dataclasses import dataclass

from kbjobs.content.document import About, Document
from kbjobs.content.language_rules import Evidence, decide_language, weigh

METADATA_VERSION = 3
"""Version of the metadata. Raise it when the same document gives different metadata; then all are read again."""

SNIPPET_LIMIT = 300
"""Longest snippet, in characters, with the ellipsis."""

HEADING_LIMIT = 100
"""The most headings kept per document; all are counted."""

HEADING_LENGTH = 120
"""Longest heading kept, in characters."""

_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Metadata:
    """Facts about one document.

    ``language`` is None if unknown; only the ``evidence`` of this document decides it. ``headings`` are pairs of level
    and text; ``about`` is what the document says about itself.
    """

    language: str | None
    evidence: Evidence
    about: About
    snippet: str
    characters: int
    heading_count: int
    headings: tuple[tuple[int, str], ...]


def read_metadata(document: Document) -> Metadata:
    """Read the metadata of a document."""
    headings = [block for block in document.blocks if block.kind == "heading"]
    evidence = weigh(document)
    return Metadata(
        language=decide_language(evidence),
        evidence=evidence,
        about=document.about,
        snippet=make_snippet(document),
        characters=sum(len(block.text) for block in document.blocks),
        heading_count=len(headings),
        headings=tuple((block.level, cut(block.text, HEADING_LENGTH)) for block in headings[:HEADING_LIMIT]),
    )


def make_snippet(document: Document) -> str:
    """Take the beginning of a document's text, without headings if there is other text, cut at a word."""
    for kinds in (("text",), ("heading",)):
        pieces: list[str] = []
        length = 0
        for block in document.blocks:
            if block.kind in kinds:
                pieces.append(block.text[: SNIPPET_LIMIT * 2])
                length += len(pieces[-1])
                if length > SNIPPET_LIMIT * 2:
                    break
        if pieces:
            return cut(" ".join(pieces), SNIPPET_LIMIT)
    return ""


def cut(text: str, limit: int) -> str:
    """Put ``text`` on one line of at most ``limit`` characters, cut at a word if one ends in the last third."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    kept = text[: limit - len(_ELLIPSIS)]
    if not text[len(kept)].isspace():
        end = kept.rfind(" ")
        kept = kept[:end] if end > limit * 2 // 3 else kept
    return kept.rstrip(" ,;:–—-") + _ELLIPSIS
