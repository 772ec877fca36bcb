"""The values that a ledger stores and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class DocumentLike(Protocol):
    """What the ledger keeps of a document."""

    @property
    def doc_id(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def url(self) -> str: ...  # noqa: D102
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def language(self) -> str | None: ...  # noqa: D102
    @property
    def content_hash(self) -> str: ...  # noqa: D102
    @property
    def word_count(self) -> int: ...  # noqa: D102
    @property
    def links(self) -> Sequence[str]: ...  # noqa: D102


class ChunkLike(Protocol):
    """What the ledger keeps of a chunk."""

    @property
    def ordinal(self) -> int: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def text_hash(self) -> str: ...  # noqa: D102
    @property
    def tokens(self) -> int: ...  # noqa: D102
    @property
    def page(self) -> int: ...  # noqa: D102


FROM_PACK = "pack"
"""The signature of a document from a pack. No file has this signature, so the next run reads the file, if any."""


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """What the ledger says of a document it has seen."""

    path: str
    content_hash: str
    pipeline: str
    signature: str
    is_chunked: bool

    @property
    def has_file(self) -> bool:
        """Whether its file was read here; False for a document from a pack whose file was not seen yet."""
        return self.signature != FROM_PACK


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as the ledger holds it."""

    ordinal: int
    text: str
    text_hash: str
    tokens: int
    page: int


@dataclass(frozen=True, slots=True)
class IndexedModel:
    """A model that a source was indexed with.

    ``key`` contains the hash of its weights; ``profile`` is the profile its passages were cut for; ``is_cleared``: its
    collection was removed on purpose and has not been rebuilt.
    """

    id: int
    key: str
    name: str
    dimension: int
    profile: int
    is_cleared: bool


@dataclass(frozen=True, slots=True)
class MissingText:
    """A text that has no vector yet: the id of a chunk with this text, its hash, its length in tokens."""

    chunk: int
    text_hash: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a collection: everything a search result needs. ``vector`` is float32, little-endian."""

    id: str
    doc_id: str
    title: str
    url: str
    text: str
    vector: bytes


@dataclass(frozen=True, slots=True)
class PushedPassage:
    """A passage to send to a cloud index.

    ``path`` is its document's path, relative to the source's roots; ``vector`` is float32, little-endian, b"" if it was
    not requested.
    """

    id: str
    doc_id: str
    path: str
    language: str | None
    title: str
    url: str
    text: str
    vector: bytes
