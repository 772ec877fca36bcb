"""Throughput of index-offline, end to end, against a plain loop of sentence-transformers and the bare engine.

Each round runs all three one after the other, each in a process of its own:

- kbjobs: the real job, from pages of HTML on disk to a verified collection, with daemon, worker and ledger;
- the bare engine: the same engine embeds the finished chunks and does nothing else;
- the plain loop: the finished chunks through ``SentenceTransformer.encode(batch_size=32)``, which sorts them by length,
  then ``collection.add``. It reads, cuts, records and verifies nothing.

At the end the same pages are cut by version 1 of the chunker and by today's, and the engine embeds both.

"Model loaded" counts from there on; "with loading" from the submit, or from the start of the loop's script.
``--model all-mpnet-base-v2 --models FOLDER --model-path FOLDER/all-mpnet-base-v2`` measures another model,
``--chunks`` a smaller source, ``--rounds`` fewer rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from pathlib import Path

from cutting import cut_both, describe, read_documents
from measuring import MINILM, PYTHON_DOCS, packaged_minilm, run_script, temporary_home

from kbjobs.content.chunking import Chunker
from kbjobs.content.document_reading import read_document
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.token_embedder import load_tokenizer
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder

BARS = {"amx_bf16": 4.0, "avx512_bf16": 2.4, "no bf16": 1.25}
"""How many times as fast as the plain loop with all-MiniLM-L6-v2, by how the processor computes in bf16."""

PLAIN_LOOP = """
import json, sys, time
started = time.perf_counter()
import chromadb
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
texts = json.load(open(sys.argv[2]))
loaded = time.perf_counter()
client = chromadb.PersistentClient(sys.argv[3])
collection = client.create_collection("plain", embedding_function=None, configuration={"hnsw": {"space": "cosine"}})
vectors = model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
for first in range(0, len(texts), 250):
    part = slice(first, first + 250)
    ids = [str(first + n) for n in range(len(texts[part]))]
    collection.add(ids=ids, embeddings=vectors[part], documents=texts[part])
ended = time.perf_counter()
print(json.dumps([ended - loaded, ended - started]))
"""

BARE_ENGINE = """
import json, sys, time
from pathlib import Path
from kbjobs.embedding.choose import load_embedder
embedder = load_embedder(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
texts = json.load(open(sys.argv[4]))
loaded = time.perf_counter()
embedder.embed(texts)
print(json.dumps(time.perf_counter() - loaded))
"""


@dataclass(frozen=True)
class Run:
    """One job: seconds with the model loaded and in all, its worker's peak memory in MB, the chunks, the engine."""

    seconds: float
    seconds_with_loading: float
    peak: float
    texts: list[str]
    engine: str


@dataclass(frozen=True)
class Round:
    """Seconds of one round, and the worker's peak memory in MB."""

    ours: float
    ours_with_loading: float
    bare: float
    plain: float
    plain_with_loading: float
    peak: float


def choose_pages(target: Path, model: str, models: Path, chunks: int) -> None:
    """Copy pages of the Python library reference until they make at least so many chunks for the model."""
    folder = find_model(model, models)
    chunker = Chunker(load_tokenizer(folder), folder.max_tokens)
    target.mkdir()
    made = 0
    for page in find_files([PYTHON_DOCS / "library"]):
        if isinstance(page, FoundFile):
            made += len(chunker.chunk(read_document(page, "docs")))
            shutil.copy(page.path, target)
        if made >= chunks:
            return
    print(f"all pages together make only {made:,} chunks")


def index_once(pages: Path, model: str, models: Path, engines: Path) -> Run:
    """Run the job in a new home, with the models and the prepared engines given."""
    with temporary_home() as home:
        home.engines.symlink_to(engines)
        home.models.symlink_to(models)
        register(home, "docs", [pages])
        manager = JobManager(home)
        started = time.perf_counter()
        job_id = manager.submit("index_offline", "docs", model=model)
        peak = 0.0
        while not (job := manager.get_status(job_id)).has_ended:
            peak = max(peak, peak_memory(job.pid))
            time.sleep(0.3)
        with_loading = time.perf_counter() - started
        log = manager.log_file(job).read_text()
        manager.close()
        assert job.exit_code == 0, log
        assert job.result is not None
        ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
        texts = [row[0] for row in ledger.connection.execute("SELECT text FROM chunks ORDER BY id")]
        ledger.close()
        seconds = moment_of(log, "phase index_offline has ended") - moment_of(log, "model .*, engine ")
        return Run(seconds, with_loading, peak, texts, job.result["engine"])


def moment_of(log: str, words: str) -> float:
    """When a worker's log says something, in seconds."""
    found = re.search(rf"^(\S+ \S+) INFO {words}", log, re.MULTILINE)
    assert found, log
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()


def peak_memory(pid: int | None) -> float:
    """Peak resident memory of a process in MB (proc_pid_status(5)); 0 where there is none."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def name_kind_of_bf16() -> str:
    """How this processor computes in bf16, by its features (arch/x86/include/asm/cpufeatures.h of Linux)."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return next((kind for kind in BARS if kind in flags), "no bf16")


def report(name: str, seconds: float, chunks: int) -> None:
    """Print seconds and chunks a second."""
    print(f"  {name}: {seconds:.2f} s, {chunks / seconds:.1f} chunks/s")


def main() -> None:
    """Print each round, then medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=MINILM)
    parser.add_argument(
        "--model-path", type=Path, help="what sentence-transformers loads; default: the packaged MiniLM"
    )
    parser.add_argument("--models", type=Path, help="a folder of models, as in the home")
    parser.add_argument("--chunks", type=int, default=1500, help="at least so many")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as name:
        root = Path(name)
        models, engines, chunks = (options.models or root / "models").absolute(), root / "engines", root / "chunks.json"
        models.mkdir(exist_ok=True)
        engines.mkdir()
        choose_pages(root / "pages", options.model, models, options.chunks)
        chunks.write_text('["Prepares the model and measures the engines, once."]')
        run_script(BARE_ENGINE, options.model, models, engines, chunks)
        rounds = []
        for number in range(1, options.rounds + 1):
            run = index_once(root / "pages", options.model, models, engines)
            chunks.write_text(json.dumps(run.texts))
            bare = run_script(BARE_ENGINE, options.model, models, engines, chunks)
            plain = run_script(PLAIN_LOOP, options.model_path or packaged_minilm(), chunks, root / f"chroma{number}")
            rounds.append(Round(run.seconds, run.seconds_with_loading, bare, plain[0], plain[1], run.peak))
            print(
                f"round {number}: kbjobs {run.seconds:.2f}, bare engine {bare:.2f}, plain loop {plain[0]:.2f} s",
                flush=True,
            )
        conclude(options.model, run.engine, len(run.texts), rounds)
        compare_passages(root / "pages", options.model, models, engines)


def compare_passages(pages: Path, model: str, models: Path, engines: Path) -> None:
    """Print what the former and the present passages of the pages are like, and how long embedding them takes."""
    documents = read_documents(pages)
    embedder = load_embedder(model, models, engines)
    embedder.embed(["Warms it up."])
    print(f"passages of the same {len(documents):,} pages:")
    for name, cut in cut_both(documents, load_tokenizer(find_model(model, models)), embedder.max_tokens):
        texts = {chunk.text_hash: chunk.text for passages in cut for chunk in passages}
        started = time.perf_counter()
        embedder.embed(list(texts.values()))
        print(f"  {name}: {describe(cut, embedder.max_tokens, time.perf_counter() - started)}", flush=True)
    embedder.close()


def conclude(model: str, engine: str, chunks: int, rounds: Sequence[Round]) -> None:
    """Print medians and ratios."""
    median = Round(*(statistics.median(column) for column in zip(*map(astuple, rounds), strict=True)))
    print(f"{model}, {chunks:,} chunks, engine {engine}, median of {len(rounds)}:")
    report("kbjobs, model loaded", median.ours, chunks)
    report("kbjobs, with loading", median.ours_with_loading, chunks)
    report("bare engine", median.bare, chunks)
    report("plain loop, model loaded", median.plain, chunks)
    report("plain loop, with loading", median.plain_with_loading, chunks)
    with_loading = median.plain_with_loading / median.ours_with_loading
    kind = name_kind_of_bf16()
    bar = f", bar {BARS[kind]:g} ×" if model == MINILM else ""
    print(f"  against the plain loop: {median.plain / median.ours:.2f} × (with loading {with_loading:.2f} ×{bar})")
    print(f"  on a processor with {kind}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"  of the bare engine's speed: {median.bare / median.ours:.1%}")
    bar = f" (bar {350 + 2.2 * chunks / 1000:.0f}: 350 and 2.2 KB a vector)" if model == MINILM else ""
    print(f"  peak memory of the worker: {max(one.peak for one in rounds):.0f} MB{bar}")


if __name__ == "__main__":
    main()
