"""What the passages are worth: those of version 1 and today's, of the same pages, with the same search, in one run.

Of the Cranfield abstracts and of pages of the Python documentation: how many passages, how full they are (the mean of
documents that are longer than a window), and the seconds to embed them; of Cranfield also nDCG@10 in each mode.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_search import CUT, DATA, MODES, ndcg, read_cranfield, write_pages
from cutting import cut_both, describe, read_documents
from measuring import MINILM, PYTHON_DOCS, publish_source, temporary_home

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.content.chunking import Chunk
from kbjobs.content.document import Document
from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.embedder import Embedder
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.token_embedder import load_tokenizer
from kbjobs.retrieval.hits import Query
from kbjobs.retrieval.searcher import Searcher
from kbjobs.store.ledger_rows import IndexedModel

PAGES = 60  # of the Python library reference


def measure(home: Home, embedder: Embedder, documents: list[Document], cut: list[list[Chunk]], name: str) -> float:
    """Publish the passages as a source; returns the seconds that embedding them took."""
    seconds = 0.0

    def embed(texts: Sequence[str]) -> np.ndarray:
        nonlocal seconds
        begun = time.perf_counter()
        vectors = embedder.embed(texts)
        seconds = time.perf_counter() - begun
        return vectors

    model = IndexedModel(0, embedder.model_key, embedder.name, embedder.dimension, 0, False)
    publish_source(home, name, list(zip(documents, cut, strict=True)), model, embed)
    return seconds


def main() -> None:
    """Print the figures of both, one under the other."""
    cranfield = read_cranfield(DATA / "cranfield")
    with temporary_home() as home:
        write_pages(cranfield.records, home.path / "pages")
        abstracts = read_documents(home.path / "pages", 2000)
        numbers = {document.doc_id: Path(document.path).stem for document in abstracts}
        embedder = load_embedder(MINILM, home.models, home.engines)
        embedder.embed(["Warms it up."])
        tokenizer, window = load_tokenizer(find_model(MINILM, home.models)), embedder.max_tokens
        for what, documents in (("Cranfield", abstracts), ("Python", read_documents(PYTHON_DOCS / "library", PAGES))):
            print(f"{what}, {len(documents):,} documents")
            for name, cut in cut_both(documents, tokenizer, window):
                source = f"{what.lower()}-{name}"
                seconds = measure(home, embedder, documents, cut, source)
                print(f"  {name}: {describe(cut, window, seconds)}", flush=True)
                if what == "Python":
                    continue
                with Searcher(home, Settings(home)) as searcher:
                    for mode in MODES:
                        found = [
                            searcher.search(Query(query, (source,), CUT, mode=mode)) for query in cranfield.queries
                        ]
                        ranked = [[numbers[hit.doc_id] for hit in hits] for hits in found]
                        score = statistics.mean(map(ndcg, ranked, cranfield.gains))
                        print(f"    {mode}: nDCG@{CUT} {score:.4f}")
        embedder.close()


if __name__ == "__main__":
    main()
