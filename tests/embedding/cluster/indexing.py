"""Indexes a source on a cluster with one of the engines of the tests, as a job does it; a program of its own.

``python -m tests.embedding.cluster.indexing SOURCE ADDRESS LOAD``; the last line it prints is its result as JSON, or
its error. It begins when all actors are ready, or as many as ``KBT_READY`` says.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time

from kbjobs.context import Context
from kbjobs.embedding.cluster.embedder import open_cluster
from kbjobs.embedding.cluster.seats import BLOCKS_AT_ONCE
from kbjobs.errors import KbjobsError
from kbjobs.indexing.cutting import IndexOptions
from kbjobs.indexing.pipeline import run_index
from kbjobs.settings import Settings, current_home
from kbjobs.store.sources import SourceFolder
from tests.conftest import MODEL
from tests.embedding.cluster import engines


class Quiet:
    """Takes progress and does nothing with it."""

    def report(self, *report: object) -> None:
        """Nothing."""

    def saved(self, steps: int) -> None:
        """Nothing."""


def main() -> None:
    source, address, load = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    home = current_home()
    settings = Settings(home)
    context = Context(
        home, settings, SourceFolder(home.sources, source), 1, Quiet(), lambda: False, logging.getLogger("job")
    )
    embedder = None
    try:
        embedder = open_cluster(home, settings, MODEL, address, lambda doing: None, getattr(engines, load))
        wanted = int(os.environ.get("KBT_READY", embedder.in_flight // BLOCKS_AT_ONCE))
        while embedder.ready < wanted:
            time.sleep(0.1)
        began = time.perf_counter()
        result = run_index(context, embedder, IndexOptions()).counts
        seconds = time.perf_counter() - began
    except KbjobsError as error:
        result, seconds = {"error": error.message, "hint": error.hint, "kind": type(error).__name__}, 0.0
    finally:
        if embedder is not None:
            embedder.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**result, "seconds": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main()
