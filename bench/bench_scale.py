"""How a source grows: seconds and memory of each step of its life, from 1,000 passages to 100,000.

The texts are made up, each of its own; their vectors are unit vectors of 384 dimensions, drawn by the text. All else
is real: the pages on disk, the scan, the ledger, the pipeline, ChromaDB, the matrix, the words. Each step runs in a
process of its own, whose processor time and peak memory are measured, Chroma's own process included; the bar of
memory is what the vectors take, and 600 MB. ``--passages 1000000 --until "scan and cut"`` measures a part of more.

The embedder stops the job where a step ends, as a cancelled job stops, and the next process goes on from the ledger.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from measuring import temporary_home

from kbjobs.config.home import Home, current_home
from kbjobs.config.settings import Settings
from kbjobs.context import Context
from kbjobs.errors import JobCancelled
from kbjobs.indexing.clear import clear_source
from kbjobs.indexing.cutting import IndexOptions
from kbjobs.indexing.pipeline import run_index
from kbjobs.phases.delete_source import DeleteSourceParams
from kbjobs.phases.delete_source import run as delete_source
from kbjobs.retrieval.open_index import Index
from kbjobs.services.sources import register, verify
from kbjobs.store.passages import Filter
from kbjobs.store.sources import SourceFolder
from kbjobs.vectors.collection_swap import WorkingCopy
from kbjobs.vectors.indexed import open_published

SOURCE, MODEL, DIMENSION = "large", "bench-0", 384
SIZES = (1_000, 10_000, 100_000)
PASSAGES = 20  # of a page
WINDOW, WORDS = 130, 120  # tokens that a passage may have; words of a paragraph, which fills one
MORE_MB = 600  # memory that a step may take beside the vectors
UNCHANGED_SECONDS = 5.0  # bar of a second run over the largest source
VOCABULARY = [f"{a}{b}{c}" for a in ("ba", "ke", "lo", "mi", "tu") for b in ("na", "re", "si", "do") for c in "klmnrst"]


class Words:
    """Counts the words of a text as its tokens."""

    identity, special, adds_up = "words", 0, True

    def count(self, texts: Sequence[str]) -> list[int]:
        """How many words each has."""
        return [len(text.split()) for text in texts]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each word lies."""
        found, place = [], 0
        for word in text.split():
            place = text.index(word, place)
            found.append((place, place + len(word)))
            place += len(word)
        return found


class DrawingEmbedder:
    """Draws a unit vector for each text, the same in every process."""

    name, model_key, dimension, max_tokens, engine = "bench", MODEL, DIMENSION, WINDOW, "drawn"
    commit_tokens, commit_texts, pads, is_free, tokens_bought, in_flight = 1 << 30, 250, False, True, 0, 1
    tokenizer = Words()

    def __init__(self, stops: bool = False) -> None:
        self.stops = stops

    def leaves_time(self) -> bool:
        """A collection is written meanwhile."""
        return True

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """A row for each text; stops the job instead where that is wished."""
        if self.stops:
            raise JobCancelled("the scan is all that is measured")
        rows = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSION, "f4") for text in texts]
        drawn = np.stack(rows)
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))

    def embed_query(self, text: str) -> np.ndarray:
        """As a passage."""
        return np.asarray(self.embed([text])[0])

    def interrupt(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing to free."""


class Clock:
    """Takes progress: notes when publishing begins, and stops the job there where that is wished."""

    def __init__(self, stops: bool = False) -> None:
        self.stops, self.published_from = stops, 0.0

    def report(self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta: bool) -> None:
        """Take a report."""
        if message == "verifying" and not self.published_from:
            if self.stops:
                raise JobCancelled("the vectors are all that is measured")
            self.published_from = time.perf_counter()

    def saved(self, steps: int) -> None:
        """Nothing to note."""


def write_source(home: Home, passages: int) -> None:
    """Write pages whose paragraphs make so many passages, and register them."""
    folder = home.path / "large-pages"
    folder.mkdir()
    generator = np.random.default_rng(5)
    for number in range(passages // PASSAGES):
        paragraphs = []
        for part in range(PASSAGES):
            drawn = generator.integers(0, len(VOCABULARY), WORDS - 2)
            paragraphs.append(f"n{number}p{part} {' '.join(VOCABULARY[word] for word in drawn)} end.")
        (folder / f"page{number}.txt").write_text("\n\n".join(paragraphs))
    register(home, SOURCE, [folder], ask=lambda question: None)


def context(home: Home, clock: Clock) -> Context:
    """What a job's phase is given."""
    log = logging.getLogger("bench")
    return Context(home, Settings(home), SourceFolder(home.sources, SOURCE), 1, clock, lambda: False, log)


def index(home: Home, embedder: DrawingEmbedder, clock: Clock) -> dict[str, Any]:
    """Run the pipeline; its counts, nothing where the job was stopped."""
    with suppress(JobCancelled):
        return run_index(context(home, clock), embedder, IndexOptions()).counts
    return {}


def scan(home: Home) -> float:
    """Read and cut all pages."""
    begun = time.perf_counter()
    assert not index(home, DrawingEmbedder(stops=True), Clock())
    return time.perf_counter() - begun


def embed(home: Home) -> float:
    """Commit all vectors to the ledger, and write them to the working copy of the collection beside."""
    begun = time.perf_counter()
    assert not index(home, DrawingEmbedder(), Clock(stops=True))
    return time.perf_counter() - begun


def publish(home: Home) -> float:
    """Verify the working copy, write matrix and words, and swap."""
    clock = Clock()
    counts = index(home, DrawingEmbedder(), clock)
    assert counts["embedded"] == counts["chunks"] == counts["documents"] * PASSAGES, counts
    return time.perf_counter() - clock.published_from


def check(home: Home) -> float:
    """What ``sources verify`` does."""
    begun = time.perf_counter()
    found = verify(home, SOURCE)
    assert found.ok, found.drift[:3]
    return time.perf_counter() - begun


def run_again(home: Home) -> float:
    """An index run over a source of which nothing has changed."""
    begun = time.perf_counter()
    counts = index(home, DrawingEmbedder(stops=True), Clock())
    assert counts["unchanged"] == counts["documents"], counts
    return time.perf_counter() - begun


def search(home: Home) -> float:
    """Open the published index and ask it by vector and by words; no model is loaded."""
    query = DrawingEmbedder().embed_query("a query")
    begun = time.perf_counter()
    source = SourceFolder(home.sources, SOURCE)
    opened = Index(WorkingCopy(source.vectors / MODEL), lambda: open_published(home, Settings(home), source, MODEL))
    near = opened.passages_near(opened.nearest(query, 10, Filter()), Filter())
    worded = opened.passages_with(opened.by_words(["n7p7"], 10, Filter()))
    opened.read([one.passage for one in (*near, *worded)])
    seconds = time.perf_counter() - begun
    assert (len(near), len(worded)) == (10, 1), (near, worded)
    opened.close()
    return seconds


def clear(home: Home) -> float:
    """What the job type clear_vectors does."""
    begun = time.perf_counter()
    counts = clear_source(context(home, Clock()), None, purge=False).counts
    assert counts["collections"] == 1, counts
    return time.perf_counter() - begun


def delete(home: Home) -> float:
    """What the job type delete_source does; the pages lie outside and stay."""
    begun = time.perf_counter()
    delete_source(context(home, Clock()), DeleteSourceParams(confirm=SOURCE))
    assert not SourceFolder(home.sources, SOURCE).path.exists()
    return time.perf_counter() - begun


STEPS: dict[str, Callable[[Home], float]] = {
    "scan and cut": scan,
    "embed and commit": embed,
    "publish": publish,
    "verify": check,
    "unchanged second run": run_again,
    "cold search": search,
    "clear": clear,
    "delete": delete,
}


class Measured(NamedTuple):
    """Of a step: seconds, seconds of processors, and peak memory in MB."""

    seconds: float
    used: float
    peak: float


def use_of_this_process(seconds: float) -> Measured:
    """What this process and those that it has started have used; of their peaks, its own and the largest."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    used = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return Measured(seconds, used, sum(usage.ru_maxrss for usage in usages) / 1024)


def measure(step: str) -> Measured:
    """Measure a step in a process of its own."""
    command = [sys.executable, __file__, "--step", step]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{step} failed ({ended.returncode}):\n{ended.stderr}")
    return Measured(*json.loads(ended.stdout.splitlines()[-1]))


def disk_mb(home: Home) -> dict[str, float]:
    """MB of the ledger, and of what is published."""
    source = SourceFolder(home.sources, SOURCE)
    published = [path for path in (source.vectors / MODEL).rglob("*") if path.is_file()]
    return {
        "ledger": source.ledger.stat().st_size / 1e6,
        **{path.name: path.stat().st_size / 1e6 for path in published if path.stat().st_size > 1e6},
    }


def measure_size(passages: int, last: str) -> dict[str, Measured]:
    """Measure each step, up to the last, with a source of so many passages."""
    bar = passages * DIMENSION * 4 / 1e6 + MORE_MB
    print(f"{passages:,} passages, bar {bar:,.0f} MB", flush=True)
    found = {}
    with temporary_home() as home:
        write_source(home, passages)
        for step in STEPS:
            found[step] = one = measure(step)
            print(
                f"  {step}: {one.seconds:.2f} s, {one.used:.2f} s of processors, {one.peak:.0f} MB"
                f"{' ABOVE THE BAR' if one.peak > bar else ''}",
                flush=True,
            )
            if step == "publish":
                print("  on disk:", ", ".join(f"{name} {size:,.0f} MB" for name, size in disk_mb(home).items()))
            if step == last:
                break
    return found


def main() -> None:
    """Print each step of each size, and how it grows with the number of passages."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--passages", type=int, nargs="+", default=SIZES)
    parser.add_argument("--until", choices=STEPS, default="delete", help="the last step to be measured")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(use_of_this_process(STEPS[options.step](current_home()))))
        return
    sizes = {passages: measure_size(passages, options.until) for passages in options.passages}
    for (less, before), (more, after) in zip(list(sizes.items()), list(sizes.items())[1:], strict=False):
        print(f"from {less:,} to {more:,} passages ({more / less:g} ×):")
        for step in after:
            grown = after[step].used / before[step].used
            print(f"  {step}: {after[step].seconds / before[step].seconds:.2f} × the time, {grown:.2f} × of processors")
    last, found = list(sizes.items())[-1]
    if "unchanged second run" in found:
        print(
            f"unchanged second run, {last:,}: {found['unchanged second run'].seconds:.2f} s (bar {UNCHANGED_SECONDS:g})"
        )


if __name__ == "__main__":
    main()
