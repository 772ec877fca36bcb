"""Where each second of index-offline goes, and how near its embedding comes to the bare engine.

The pipeline runs in this process, on the pages, model and engine of bench_indexing.py, with a clock around each step:
the seconds of a step are its own, without those of the steps inside it. What the collection's writer does in a thread
of its own is shown apart, with its processor time: it runs while the engine computes. Then the engine alone embeds the
same passages. Rounds in turns, medians.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from bench_indexing import choose_pages
from measuring import MINILM, temporary_home

from kbjobs.config.settings import Settings
from kbjobs.content.chunking import Chunker
from kbjobs.context import Context
from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.token_embedder import TokenEmbedder
from kbjobs.indexing import pipeline
from kbjobs.indexing.collection_writer import CollectionWriter
from kbjobs.indexing.cutting import IndexOptions
from kbjobs.indexing.embedding_batches import BatchEmbedding
from kbjobs.sources.registration import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.vectors import sync
from kbjobs.vectors.collection import Collection
from kbjobs.vectors.collection_swap import WorkingCopy

BAR = 0.95
"""Of the bare engine's speed, while passages are embedded."""

STEPS: tuple[tuple[Any, str, str], ...] = (
    (pipeline, "scan_source", "scan: find, read, compare"),
    (Chunker, "chunk_many", "cut into passages"),
    (Ledger, "put_documents", "ledger: documents"),
    (pipeline, "publish_words", "words of what is new"),
    (BatchEmbedding, "run", "embed: between the steps"),
    (TokenEmbedder, "_tokenise", "tokenise"),
    (TokenEmbedder, "_embed_part", "pool"),
    (Ledger, "texts", "ledger: texts"),
    (Ledger, "put_vectors", "ledger: vectors"),
    (Ledger, "record_ids_of_texts", "ledger: records"),
    (CollectionWriter, "put", "wait for the collection's writer"),
    (CollectionWriter, "__exit__", "wait for the collection's writer"),
    (Collection, "upsert", "Chroma"),
    (pipeline, "_publish", "publish: open, swap, note"),
    (sync, "compare", "verify"),
    (sync, "find_lost", "verify"),
    (sync, "write_exact", "matrix and words"),
    (WorkingCopy, "publish", "publish: open, swap, note"),
)


class Profile:
    """Seconds of each step, by thread: wall time, and processor time of the thread."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.beside: dict[str, float] = defaultdict(float)
        self._main = threading.get_ident()
        self._inner = threading.local()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what is done within as the step's, less the steps within."""
        outer = getattr(self._inner, "seconds", 0.0)
        self._inner.seconds = 0.0
        begun, used = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begun
            if threading.get_ident() == self._main:
                self.wall[name] += seconds - self._inner.seconds
            else:
                self.beside[name] += time.thread_time() - used
            self._inner.seconds = outer + seconds

    def around(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function with the clock around it."""

        @wraps(function)
        def measured(*given: Any, **named: Any) -> Any:
            with self.step(name):
                return function(*given, **named)

        return measured

    def around_each(self, function: Callable[..., Iterator[Any]], name: str) -> Callable[..., Iterator[Any]]:
        """The generator function with the clock around each step of it."""

        @wraps(function)
        def measured(*given: Any, **named: Any) -> Iterator[Any]:
            results = function(*given, **named)
            while True:
                with self.step(name):
                    result = next(results, None)
                if result is None:
                    return
                yield result

        return measured


class Silent:
    """Takes progress."""

    def report(self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta: bool) -> None:
        """Nothing is shown."""

    def saved(self, steps: int) -> None:
        """Nothing is noted."""


@contextmanager
def clocks(profile: Profile, embedder: TokenEmbedder) -> Iterator[None]:
    """Put the profile's clock around each step."""
    kept = [(place, name, getattr(place, name)) for place, name, _ in STEPS]
    kept.append((type(embedder), "forward", type(embedder).forward))
    for place, name, label in STEPS:
        setattr(place, name, profile.around(getattr(place, name), label))
    type(embedder).forward = profile.around_each(type(embedder).forward, "engine")  # type: ignore[method-assign]
    try:
        yield
    finally:
        for place, name, function in kept:
            setattr(place, name, function)


def index(pages: Path, embedder: TokenEmbedder) -> tuple[Profile, float, list[str]]:
    """Index the pages in a new home: the profile, the seconds from the first batch to the last, the passages."""
    with temporary_home() as home:
        register(home, "docs", [pages])
        folder = SourceFolder(home.sources, "docs")
        profile = Profile()
        log = logging.getLogger("bench")
        context = Context(home, Settings(home), folder, 1, Silent(), lambda: False, log)
        with clocks(profile, embedder), profile.step("everything else"):
            pipeline.run_index(context, embedder, IndexOptions())
        ledger = Ledger(folder.ledger)
        texts = [row[0] for row in ledger.connection.execute("SELECT text FROM chunks ORDER BY id")]
        ledger.close()
    names = ["embed: between the steps", "tokenise", "pool", "engine", "ledger: texts", "ledger: vectors"]
    names += ["ledger: records", "wait for the collection's writer"]
    return profile, sum(profile.wall[name] for name in names), texts


def report(profiles: Sequence[Profile]) -> None:
    """Print the median of each step, the longest first."""
    names = {name for profile in profiles for name in profile.wall}
    medians = {name: statistics.median(profile.wall[name] for profile in profiles) for name in names}
    total = sum(medians.values())
    for name in sorted(names, key=lambda name: -medians[name]):
        print(f"  {medians[name]:6.2f} s {medians[name] / total:6.1%}  {name}")
    print(f"  {total:6.2f} s         in all; beside it, in the collection's writer (processor time):")
    for name in sorted({name for profile in profiles for name in profile.beside}):
        print(f"  {statistics.median(profile.beside[name] for profile in profiles):6.2f} s         {name}")


def main() -> None:
    """Print each round, then the profile."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=1500, help="at least so many")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as name:
        root = Path(name)
        models, engines = root / "models", root / "engines"
        models.mkdir()
        engines.mkdir()
        choose_pages(root / "pages", MINILM, models, options.chunks)
        embedder = load_embedder(MINILM, models, engines)
        assert isinstance(embedder, TokenEmbedder)
        embedder.embed(["Warms it up."])
        profiles, ratios = [], []
        for number in range(1, options.rounds + 1):
            profile, seconds, texts = index(root / "pages", embedder)
            begun = time.perf_counter()
            embedder.embed(texts)
            bare = time.perf_counter() - begun
            profiles.append(profile)
            ratios.append(bare / seconds)
            print(f"round {number}: embedding {seconds:.2f} s, the bare engine {bare:.2f} s", flush=True)
        print(f"{MINILM}, {len(texts):,} passages, engine {embedder.engine}, median of {options.rounds}:")
        report(profiles)
        print(f"embedding at {statistics.median(ratios):.1%} of the bare engine's speed (bar {BAR:.0%})")
        embedder.close()


if __name__ == "__main__":
    main()
