"""Indexes a source on a cluster with one of the engines of the tests, as a job does it; a program of its own.

``python -m tests.embedding.cluster.indexing SOURCE ADDRESS LOAD``; the last line that it prints is its result as JSON,
or its error. It begins when all actors are ready, or as many as ``KBT_READY`` says. With ``none`` as the address it is
the local engine that embeds, or LOAD in this process where that is not empty.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from kbjobs.config.home import Home, current_home
from kbjobs.config.settings import Settings
from kbjobs.context import Context
from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.cluster.actor_slots import BLOCKS_AT_ONCE
from kbjobs.embedding.cluster.cluster_embedder import open_cluster
from kbjobs.embedding.embedder import Embedder
from kbjobs.errors import KbjobsError
from kbjobs.indexing.cutting import IndexOptions
from kbjobs.indexing.pipeline import run_index
from kbjobs.store.sources import SourceFolder
from tests.conftest import MODEL
from tests.embedding.cluster import engines


class Clock:
    """A reporter that remembers when embedding began and ended, and how large the process was until then, in MB."""

    began = ended = 0.0
    peak = 0.0

    def report(self, current: int, total: int, unit: str, message: str, *more: object) -> None:
        """Take a report of progress."""
        if message == "embedding":
            self.began = self.began or time.perf_counter()
            self.ended = time.perf_counter()
            self.peak = peak_memory()

    def saved(self, steps: int) -> None:
        """Nothing."""


def peak_memory() -> float:
    """Of this process so far, in MB. (What getrusage tells begins with that of the process it was forked from.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def load(home: Home, settings: Settings, address: str, name: str) -> Embedder:
    """The engine, when all of it is ready."""
    if address == "none":
        local: Any = load_embedder(MODEL, home.models, home.engines)
        if name:
            local.embed = getattr(engines, name)(local._folder, home.engines).embed
        return local
    embedder: Any = open_cluster(home, settings, MODEL, address, lambda doing: None, getattr(engines, name))
    wanted = int(os.environ.get("KBT_READY", embedder.in_flight // BLOCKS_AT_ONCE))
    while embedder.ready < wanted:
        time.sleep(0.1)
    return embedder


def main() -> None:
    source, address, name = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    home = current_home()
    settings = Settings(home)
    clock = Clock()
    folder = SourceFolder(home.sources, source)
    context = Context(home, settings, folder, 1, clock, lambda: False, logging.getLogger("job"))
    embedder = None
    said: dict[str, Any]
    try:
        embedder = load(home, settings, address, name)
        began = time.perf_counter()
        said = dict(run_index(context, embedder, IndexOptions()).counts)
        said["seconds"] = time.perf_counter() - began
    except KbjobsError as error:
        said = {"error": error.message, "hint": error.hint, "kind": type(error).__name__}
    finally:
        if embedder is not None:
            embedder.close()
    said |= {"embedding_seconds": clock.ended - clock.began, "embedding_mb": clock.peak, "peak_mb": peak_memory()}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
