"""How long a search takes: from a cold start, and one after the other, over one source and over thirty.

Each of the sources holds 2,000 passages of the Python documentation. Their vectors are made up (unit vectors at
random): how long it takes to compare them does not depend on what they say, and embedding 60,000 passages takes half an
hour. They are published by the code that publishes those of a job. Cold is the wall time of a new ``kbjobs search``
with the files in the page cache; warm is an answer of a searcher that is open, as at the prompt.

``--model all-mpnet-base-v2 --models FOLDER`` measures another model.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from measuring import KBJOBS, MINILM, PYTHON_DOCS, publish_source, temporary_home, wall_seconds

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.content.chunking import Chunk, Chunker
from kbjobs.content.document import Document
from kbjobs.content.document_reading import read_document
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.identity import model_key, weights_hash
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.token_embedder import load_tokenizer
from kbjobs.retrieval.hits import Query
from kbjobs.retrieval.searcher import Searcher
from kbjobs.store.ledger_rows import IndexedModel

QUERIES = [
    "how to open a file", "parse a date", "regular expression groups", "async generator", "thread pool",
    "sort a list by key", "http request with headers", "read a csv file", "decimal rounding", "weak references",
]  # fmt: skip


@dataclass(frozen=True)
class Page:
    """A document and its passages."""

    document: Document
    passages: list[Chunk]


def read_pages(chunker: Chunker) -> Iterator[Page]:
    """The pages of the Python documentation, over and over; each time under another name."""
    files = [file for file in find_files([PYTHON_DOCS]) if isinstance(file, FoundFile)]
    while True:
        for file in files:
            document = read_document(file, "docs")
            yield Page(document, chunker.chunk(document))


def write_source(home: Home, name: str, pages: Iterator[Page], model: IndexedModel, size: int) -> int:
    """Register a source and publish so many passages of it; returns how many."""
    chosen: list[Page] = []
    while sum(len(page.passages) for page in chosen) < size:
        chosen.append(next(pages))
    generator = np.random.default_rng(len(name))

    def make_up(texts: Sequence[str]) -> np.ndarray:
        vectors = generator.standard_normal((len(texts), model.dimension), dtype=np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    rows = [(page.document, page.passages) for page in chosen]
    return publish_source(home, name, rows, model, make_up)


def cold(arguments: Sequence[str], rounds: int) -> float:
    """Median seconds of a new process."""
    return statistics.median(
        wall_seconds([*KBJOBS, "search", *arguments, query]) for query in islice(QUERIES * rounds, rounds)
    )


def warm(home: Home, sources: Sequence[str], rounds: int) -> float:
    """Median milliseconds of an answer of an open searcher."""
    times = []
    with Searcher(home, Settings(home)) as searcher:
        searcher.search(Query(QUERIES[0], tuple(sources)))
        for query in QUERIES * rounds:
            begun = time.perf_counter()
            searcher.search(Query(query, tuple(sources)))
            times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def main() -> None:
    """Print the figures with their bars."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--models", type=Path, help="a folder of models, as in the home")
    parser.add_argument("--sources", type=int, default=30)
    parser.add_argument("--passages", type=int, default=2000, help="of each source, at least")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with temporary_home() as home:
        os.environ["KBJOBS_MODEL"] = options.model
        if options.models:
            home.models.symlink_to(options.models.absolute())
        load_embedder(options.model, home.models, home.engines).close()  # prepared once, as by the first job
        folder = find_model(options.model, home.models)
        key = model_key(folder, weights_hash(folder, home.engines))
        pages = read_pages(Chunker(load_tokenizer(folder), folder.max_tokens))
        names = [f"docs{number}" for number in range(options.sources)]
        model = IndexedModel(0, key, folder.name, folder.dimension, 0, False)
        passages = [write_source(home, name, pages, model, options.passages) for name in names]
        print(f"{folder.name}, {folder.dimension} dimensions, {len(names)} sources, {sum(passages):,} passages in all")
        bar = 0.8 if options.model == MINILM else 1.5
        for what, sources, limit in ((f"one source ({passages[0]:,})", names[:1], bar), ("all sources", [], 1.0)):
            arguments = [part for name in sources for part in ("--source", name)]
            print(f"  {what}: cold {cold(arguments, options.rounds):.2f} s (bar {limit}),", end=" ", flush=True)
            print(f"warm {warm(home, sources, options.rounds):.1f} ms an answer (bar 50)")


if __name__ == "__main__":
    main()
