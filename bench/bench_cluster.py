"""The engine ray on a cluster of simulated nodes on this machine, beside the local engine and beside itself.

- Seconds to bring up a head and three nodes of one CPU each.
- Overhead: seconds of an index of pages of the Python documentation with three actors, all ready, beside those of the
  local engine on the same cores. In turns, each in a home of its own, with the model loaded and prepared.
- Actors: seconds of embedding with an engine that sleeps for each block, so that cores do not limit: one against eight.
- Memory: peak of the driver with a small and a large source, by an engine that only draws vectors; beside the same
  engine in the worker itself, which builds the vector store too.

A network namespace of its own keeps the cluster's ports from everybody (root is needed).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import MINILM, PYTHON_DOCS, ROOT

sys.path.insert(0, str(ROOT))

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.embedding.choose import load_embedder
from kbjobs.sources.registration import register
from tests.servers.ray_cluster import RayCluster

OVERHEAD_BAR, ACTORS_BAR, MEMORY_BAR = 1.25, 7.0, 200.0
SLEEP = 1.0  # seconds of a block
PARAGRAPHS, WORDS = 20, 57  # of a page that is made up; a paragraph is a passage
BLOCK = 45  # passages of this kind in a block, about
VOCABULARY = [f"{a}{b}" for a in ("bar", "ken", "lod", "mit", "tur") for b in ("nab", "rek", "sil", "dom", "gus")]


class Bench:
    """Homes, sources and clusters of one run, below a folder that is thrown away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engines = folder / "engines"
        load_embedder(MINILM, folder / "models", self.engines).close()  # prepared and measured once

    def index(self, cluster: RayCluster, pages: Path, address: str, load: str, **environment: str) -> dict[str, Any]:
        """Index in a home of its own; what the indexing program says."""
        with tempfile.TemporaryDirectory(dir=self.folder) as path:
            home = Home(Path(path))
            home.prepare()
            home.engines.symlink_to(self.engines)
            register(home, "docs", [pages])
            ended = cluster.run(
                sys.executable,
                "-m",
                "tests.embedding.cluster.indexing",
                "docs",
                address,
                load,
                env={**os.environ, "PYTHONPATH": str(ROOT), HOME_VARIABLE: path, **environment},
                timeout=3600,
            )
        if ended.returncode:
            sys.exit(ended.stderr)
        said: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        if said.get("failed", 1):
            sys.exit(f"{said}\n{ended.stderr}")
        return said

    @contextmanager
    def cluster(self, nodes: int, cpus: int = 1, sleep: float = 0.0) -> Iterator[RayCluster]:
        """A cluster whose nodes find the model prepared."""
        with tempfile.TemporaryDirectory(dir=self.folder) as path:
            cluster = RayCluster(Path(path))
            try:
                for _ in range(nodes):
                    number = cluster.add(cpus, KBT_SLEEP=str(sleep))
                    (cluster.homes[number] / "engines").symlink_to(self.engines)
                yield cluster
            finally:
                cluster.close()


def measure_overhead(bench: Bench, count: int, rounds: int) -> None:
    """Three actors beside the local engine."""
    pages = bench.folder / "pages"
    pages.mkdir()
    for page in sorted((PYTHON_DOCS / "library").glob("*.html"))[:count]:
        shutil.copy(page, pages)
    started = time.perf_counter()
    with bench.cluster(3) as cluster:
        print(f"a head and 3 nodes are up in {time.perf_counter() - started:.1f} s")
        ratios, passages = [], 0
        for _ in range(rounds):
            ours = bench.index(cluster, pages, cluster.address, "load_best")
            local = bench.index(cluster, pages, "none", "")
            ratios.append((ours["seconds"], local["seconds"]))
            passages = ours["chunks"]
    mine, other = (statistics.median(column) for column in zip(*ratios, strict=True))
    single = ", ".join(f"{one / two:.2f}" for one, two in ratios)
    print(
        f"{passages:,} passages, 3 actors against the local engine: {mine:.2f} s against {other:.2f} s:"
        f" ratio {mine / other:.2f} (bar {OVERHEAD_BAR}, median of {rounds}; single rounds {single})"
    )


def measure_actors(bench: Bench, blocks: int) -> None:
    """Eight sleeping actors against one."""
    pages = bench.folder / "sleeping"
    write_pages(pages, blocks * BLOCK)
    seconds = {}
    with bench.cluster(1, 8, SLEEP) as cluster:
        for actors in (1, 8):
            said = bench.index(
                cluster, pages, cluster.address, "load_sleeping", KBJOBS_RAY_CPUS="1", KBJOBS_RAY_ACTORS=str(actors)
            )
            seconds[actors] = said["embedding_seconds"]
    print(
        f"{blocks} blocks of {SLEEP} s: 1 actor {seconds[1]:.2f} s, 8 actors {seconds[8]:.2f} s:"
        f" {seconds[1] / seconds[8]:.2f} times as fast (bar {ACTORS_BAR})"
    )


def measure_memory(bench: Bench, small: int, large: int) -> None:
    """The driver's peak with a small and a large source."""
    grown = {}
    with bench.cluster(3) as cluster:
        for address, kind in ((cluster.address, "the driver"), ("none", "the local worker")):
            found = []
            for count in (small, large):
                pages = bench.folder / f"pages-{count}"
                write_pages(pages, count)
                said = bench.index(cluster, pages, address, "load_sleeping", KBT_SLEEP="0")
                found.append((said["chunks"], said["peak_mb"]))
                shutil.rmtree(pages)
            (few, before), (many, after) = found
            grown[kind] = after - before
            print(f"{kind}: {few:,} passages {before:.0f} MB, {many:,} passages {after:.0f} MB: {grown[kind]:+.0f} MB")
    more = grown["the driver"] - grown["the local worker"]
    print(
        f"the driver grows by {grown['the driver']:.0f} MB (bar {MEMORY_BAR:.0f}), of which the local worker grows too,"
        f" as it builds the vector store, by {grown['the local worker']:.0f}: {more:+.0f} MB with the cluster"
    )


def write_pages(folder: Path, passages: int) -> None:
    """Write made-up pages of about so many passages, no two alike."""
    folder.mkdir()
    drawn = random.Random(0)
    for number in range(max(1, passages // PARAGRAPHS)):
        paragraphs = "".join(
            f"<h2>Part {part} of {number}</h2><p>{' '.join(drawn.choices(VOCABULARY, k=WORDS))}</p>"
            for part in range(PARAGRAPHS)
        )
        (folder / f"{number}.html").write_text(f"<html lang=en><title>Page {number}</title><body>{paragraphs}</body>")


def main() -> None:
    """Measure what is asked for; without an option everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("overhead", "actors", "memory"))
    parser.add_argument("--pages", type=int, default=90, help="of the Python documentation, for the overhead")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=120, help="for the sleeping actors")
    parser.add_argument("--small", type=int, default=3_000)
    parser.add_argument("--large", type=int, default=100_000)
    asked = parser.parse_args()
    if subprocess.run(["unshare", "--net", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        print("nothing is measured: a network namespace cannot be made here (it needs root)")
        return
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as path:
        bench = Bench(Path(path))
        if asked.only in (None, "overhead"):
            measure_overhead(bench, asked.pages, asked.rounds)
        if asked.only in (None, "actors"):
            measure_actors(bench, asked.blocks)
        if asked.only in (None, "memory"):
            measure_memory(bench, asked.small, asked.large)


if __name__ == "__main__":
    main()
