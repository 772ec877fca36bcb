"""The passages of version 1 of the chunker and today's, of the same pages, for the benchmarks that compare them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from former_chunking import FormerChunker

from kbjobs.content.chunking import Chunk, Chunker
from kbjobs.content.document import Document
from kbjobs.content.document_reading import read_document
from kbjobs.content.source_files import FoundFile, find_files

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def read_documents(folder: Path, most: int | None = None) -> list[Document]:
    """The documents of a folder."""
    files = [file for file in find_files([folder]) if isinstance(file, FoundFile)]
    return [read_document(file, "bench") for file in files[:most]]


def cut_both(
    documents: Sequence[Document], tokenizer: Tokenizer, window: int
) -> Iterator[tuple[str, list[list[Chunk]]]]:
    """The name of each chunker and the passages it makes of each document."""
    for name, chunker in (("former", FormerChunker(tokenizer, window)), ("today", Chunker(tokenizer, window))):
        yield name, list(chunker.chunk_many(documents))


def describe(cut: Sequence[Sequence[Chunk]], window: int, seconds: float) -> str:
    """Passages, fill and seconds, for people. Full is the mean of documents that are longer than a window."""
    long = [chunk.tokens / window for passages in cut if len(passages) > 1 for chunk in passages]
    every = [chunk.tokens for passages in cut for chunk in passages]
    return (
        f"{len(every):,} passages, {statistics.mean(long):.1%} full, {sum(every):,} tokens, embedded in {seconds:.1f} s"
    )
