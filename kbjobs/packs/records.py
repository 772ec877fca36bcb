"""The records in a pack's tables, one per line. docs/reference/pack-format.md describes each field."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kbjobs.packs.fields import First, Hex32, Hex64, Key, Line, Number, Slug, Strict, Tag, Text, Web

Heading = Annotated[tuple[Annotated[int, Field(ge=0, le=9)], Line], Field(strict=False)]
"""Level and text, a list in JSON."""


class DocumentRecord(Strict):
    """A document; ``url`` is None if it has no web address, ``reader`` is the version that read it."""

    doc_id: Hex32
    path: Key
    url: Web | None
    title: Line
    language: Tag | None
    content_hash: Hex64
    words: Number
    reader: Slug
    filtered: bool


class MetadataRecord(Strict):
    """The metadata of a document; ``language`` is the language that was decided on."""

    doc_id: Hex32
    language: Tag | None
    snippet: Line
    characters: Number
    heading_count: Number
    headings: Annotated[list[Heading], Field(max_length=1_000), First]
    description: Line
    published: Annotated[str, Field(pattern=r"\A([0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?)?\z")]
    authors: Annotated[list[Line], Field(max_length=1_000), First]
    categories: Annotated[list[Line], Field(max_length=1_000), First]
    kind: Annotated[str, Field(pattern=r"\A[a-z0-9-]{0,40}\z")]


class LinkRecord(Strict):
    """A link of a document: its web address, the source's document that it leads to, or both."""

    doc_id: Hex32
    url: Web | None
    target: Hex32 | None


class PassageRecord(Strict):
    """A passage of a document. ``text_hash`` is the first 32 hex digits of the text's sha256."""

    doc_id: Hex32
    ordinal: Number
    text: Text
    text_hash: Hex32
    tokens: Number
    page: Number


class TextRecord(Strict):
    """A text whose vector is in the same row of the block's other part."""

    text_hash: Hex32


class PackedChunk(Strict):
    """A piece of a file: the index of its part in the backup's data, and offset and length in the unpacked part."""

    part: Number
    offset: Number
    length: Number


class FileRecord(Strict):
    """A file of the backup: its path relative to the source's folder, and its pieces in order."""

    name: Key
    size: Number
    sha256: Hex64
    pieces: Annotated[list[PackedChunk], Field(max_length=200_000), First]
