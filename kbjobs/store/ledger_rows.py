"""What a ledger is given to keep, and what it gives back."""

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
"""The signature of a document that came with a pack: no file has it, so that the next run reads the file, if any."""


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
        """Whether it was read here; of one that came with a pack no file was seen yet."""
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

    ``key`` contains the hash of its weights; ``profile`` is the one its passages were cut for; ``is_cleared``: its
    collection was removed on purpose, and not built again since.
    """

    id: int
    key: str
    name: str
    dimension: int
    profile: int
    is_cleared: bool


@dataclass(frozen=True, slots=True)
class MissingText:
    """A text that has no vector yet: one chunk that carries it, its hash and length in tokens."""

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
    """A passage as it is sent to a cloud index.

    ``path`` is its document's, below the source's roots; ``vector`` is float32, little-endian, b"" if it is not
    asked for.
    """

    id: str
    doc_id: str
    path: str
    language: str | None
    title: str
    url: str
    text: str
    vector: bytes
