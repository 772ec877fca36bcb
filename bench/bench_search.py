"""How good the search is: nDCG@10 on the collections Cranfield and CISI, against an exact search in float32.

The abstracts become HTML pages, the real job indexes them, and the queries are answered by what ``kbjobs search`` runs,
in each of its modes. The baseline is sentence-transformers in float32 on the same passages, every cosine computed; a
document scores as its best passage. The bar is for vectors; both together are to be above. CISI has questions of up to
200 words; it has 76 queries with judgements, each of which names a right document.

Judgements (cranqrel.readme, codes of Cleverdon): 1 is a complete answer, 4 of minimum interest. The gain of a
document is therefore 5 − code: 4, 3, 2, 1. The code −1 stands once in each query and is not defined there; it counts
as not relevant, as trec_eval counts every negative judgement. nDCG is that of trec_eval's ndcg_cut: the gain divided by
log2(1 + rank), summed up and divided by the sum of the best possible order. Judgements count the queries in the order
of the file, not by their .I number.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import KBJOBS, MINILM, ROOT, packaged_minilm, temporary_home, wall_seconds
from peers import PEERS

from kbjobs.config.home import Home, current_home
from kbjobs.config.settings import Settings
from kbjobs.retrieval.hits import Mode, Query
from kbjobs.retrieval.searcher import Searcher
from kbjobs.services.jobs import JobManager
from kbjobs.sources.registration import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder

DATA = ROOT.parent / "shared" / "data"
HYBRID_BARS = {"cranfield": 0.428, "cisi": 0.444}
CUT = 10  # documents that count
BAR = 0.01
COLD_ROUNDS = 7
MODES: tuple[Mode, ...] = ("vectors", "words", "hybrid")


def read_records(path: Path) -> list[dict[str, str]]:
    """The records of a file in the collection's format: ``.I number``, then fields that begin with a letter's line."""
    records = []
    for record in re.split(r"^\.I ", path.read_text(encoding="latin-1"), flags=re.MULTILINE)[1:]:
        number, *parts = re.split(r"^\.([TABWX]) *$\n?", record, flags=re.MULTILINE)
        named = zip(parts[::2], (" ".join(part.split()) for part in parts[1::2]), strict=True)
        records.append({"I": number.strip(), **dict(reversed(list(named)))})  # of several authors the first
    return records


@dataclass(frozen=True)
class Collection:
    """Abstracts, queries, and the gain of each judged document by its number, for each of the queries."""

    name: str
    records: list[dict[str, str]]
    queries: list[str]
    gains: list[dict[str, int]]


def read_cranfield(folder: Path) -> Collection:
    """The Cranfield collection."""
    queries = [record["W"] for record in read_records(folder / "cran.qry")]
    gains = read_gains(folder / "cranqrel")
    found = [gains[position] for position in range(1, len(queries) + 1)]
    return Collection("cranfield", read_records(folder / "cran.all.1400"), queries, found)


def read_cisi(folder: Path) -> Collection:
    """The CISI collection; queries without judgements are left out."""
    gains: dict[str, dict[str, int]] = {}
    for line in (folder / "CISI.REL").read_text().splitlines():
        query, document, *_ = line.split()
        gains.setdefault(query, {})[document] = 1
    queries = [record for record in read_records(folder / "CISI.QRY") if record["I"] in gains]
    found = [gains[record["I"]] for record in queries]
    return Collection("cisi", read_records(folder / "CISI.ALL"), [record["W"] for record in queries], found)


def read_gains(path: Path) -> dict[int, dict[str, int]]:
    """The gain of each judged document, by the position of the query (from 1) and the document's number."""
    gains: dict[int, dict[str, int]] = {}
    for line in path.read_text().splitlines():
        query, document, code = line.split()
        gains.setdefault(int(query), {})[document] = 5 - int(code) if int(code) > 0 else 0
    return gains


def write_pages(records: Iterable[Mapping[str, str]], folder: Path) -> int:
    """Write a page for each record that has a text; returns their number."""
    folder.mkdir()
    written = 0
    for record in records:
        title, text = html.escape(record["T"]), html.escape(record["W"].removeprefix(record["T"]).strip())
        if not text:
            continue
        page = f"<html lang=en><title>{title}</title><body><h1>{title}</h1><p>{text}</p></body></html>"
        (folder / f"{record['I']}.html").write_text(page)
        written += 1
    return written


def index(home: Home, source: str, pages: Path, model: str) -> str:
    """Index the pages with the real job; returns its summary."""
    register(home, source, [pages])
    manager = JobManager(home)
    job_id = manager.submit("index_offline", source, model=model)
    for _ in manager.follow([job_id], revive=False):
        pass
    job = manager.get_status(job_id)
    manager.close()
    assert job.exit_code == 0, job
    return job.message


def rank_documents(passages: Iterable[tuple[str, float]]) -> list[str]:
    """Documents by their best passage, the best first. ``passages`` are pairs of document and score."""
    best: dict[str, float] = {}
    for document, score in passages:
        best[document] = max(score, best.get(document, -1.0))
    return sorted(best, key=lambda document: -best[document])[:CUT]


def ndcg(ranked: Iterable[str], gains: Mapping[str, int]) -> float:
    """Normalised discounted cumulative gain of a ranking."""

    def discounted(values: Iterable[int]) -> float:
        return sum(gain / math.log2(1 + rank) for rank, gain in enumerate(values, start=1))

    best = sorted(gains.values(), reverse=True)[:CUT]
    return discounted(gains.get(document, 0) for document in ranked) / discounted(best)


def search_published(
    searcher: Searcher, source: str, mode: Mode, queries: list[str], numbers: Mapping[str, str]
) -> tuple[list[list[str]], float]:
    """The documents that our search finds for each query, and the median ms that one takes.

    ``numbers`` are the documents' numbers by doc_id.
    """
    found, times = [], []
    for query in queries:
        begun = time.perf_counter()
        hits = searcher.search(Query(query, (source,), CUT, mode=mode))
        times.append(1000 * (time.perf_counter() - begun))
        found.append([numbers[hit.doc_id] for hit in hits])
    return found, statistics.median(times)


def recall_of(searcher: Searcher, source: str, queries: list[str], model: str) -> float:
    """The share of the nearest passages, by every cosine with the ledger's vectors, that are found; equals count."""
    ledger = Ledger(SourceFolder(current_home().sources, source).ledger)
    vectors = np.stack(
        [np.frombuffer(row[0], "<f4") for row in ledger.connection.execute("SELECT vector FROM vectors")]
    )
    ledger.close()
    shares = []
    for query in queries:
        hits = searcher.search(Query(query, (source,), CUT, mode="vectors", passages=True))
        least = np.sort(vectors @ searcher.embed(query, model))[-CUT]
        shares.append(sum(hit.score is not None and hit.score >= round(float(least), 4) for hit in hits) / CUT)
    return statistics.mean(shares)


def read_text(page: Path) -> str:
    """Title and text of a page that ``write_pages`` wrote."""
    found = re.search(r"<h1>(.*)</h1><p>(.*)</p>", page.read_text(), re.DOTALL)
    assert found
    return html.unescape(f"{found[1]}\n{found[2]}")


def search_exactly(queries: list[str], passages: list[tuple[str, str]]) -> list[list[str]]:
    """The documents nearest by exact cosine. ``passages`` are pairs of document and text."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = SentenceTransformer(str(packaged_minilm()), device="cpu")

    def encode(texts: list[str]) -> np.ndarray:
        return np.asarray(model.encode(texts, batch_size=8, normalize_embeddings=True, show_progress_bar=False))

    scores = encode(queries) @ encode([text for _, text in passages]).T
    documents = [document for document, _ in passages]
    return [rank_documents(zip(documents, map(float, row), strict=True)) for row in scores]


def ask_peer(python: str, peer: str, model: Path, content: Path, folder: Path) -> tuple[list[list[str]], float, float]:
    """A peer's documents for each query, its median ms, and the median wall seconds of a process for one query."""
    script = [python, str(ROOT / "bench" / "peers.py")]
    rest = [peer, str(model), str(content), str(folder)]

    def run(action: str) -> dict[str, Any]:
        ended = subprocess.run([*script, action, *rest], capture_output=True, text=True, check=False)
        if ended.returncode:
            sys.exit(f"{peer} failed:\n{ended.stderr}")
        told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return told

    indexed = run("index")
    print(f"  {peer} indexed in {indexed['seconds']:.0f} s", flush=True)
    answers = run("ask")
    cold = statistics.median(wall_seconds([*script, "first", *rest]) for _ in range(COLD_ROUNDS))
    return answers["found"], answers["milliseconds"], cold


def measure(home: Home, collection: Collection, model: str, peers_python: str | None) -> None:
    """Print the figures of one collection, and of the peers on it if their environment is given."""
    source, queries = collection.name, collection.queries
    pages = home.path / f"{source}-pages"
    written = write_pages([record for record in collection.records if "W" in record], pages)
    print(f"{source}: {written:,} abstracts that have a text: {index(home, source, pages, model)}")
    with Ledger(SourceFolder(home.sources, source).ledger) as ledger:
        numbers = {doc_id: Path(path).stem for doc_id, path in ledger.document_paths()}
        rows = ledger.connection.execute("SELECT doc_id, text FROM chunks ORDER BY id").fetchall()
    with Searcher(home, Settings(home)) as searcher:
        searcher.search(Query(queries[0], (source,)))  # loads the model
        ours = {mode: search_published(searcher, source, mode, queries, numbers) for mode in MODES}
        recall = recall_of(searcher, source, queries, model)
    cold = statistics.median(wall_seconds([*KBJOBS, "search", source, queries[0]]) for _ in range(COLD_ROUNDS))

    def mean_of(rankings: list[list[str]]) -> float:
        return statistics.mean(ndcg(*pair) for pair in zip(rankings, collection.gains, strict=True))

    exact = search_exactly(queries, [(numbers[doc_id], text) for doc_id, text in rows])
    print(f"{model}, {len(queries)} queries, nDCG@{CUT}: exact float32 {mean_of(exact):.4f}")
    for mode, (rankings, milliseconds) in ours.items():
        print(f"  kbjobs, {mode}: {mean_of(rankings):.4f}, {milliseconds:.1f} ms a query")
    print(f"  kbjobs, a new process: {cold:.2f} s")
    for peer in PEERS if peers_python else ():
        texts = [[file.stem, read_text(file)] for file in sorted(pages.iterdir())]
        content = home.path / "peers.json"
        content.write_text(json.dumps({"documents": texts, "queries": queries}))
        place = home.path / f"{source}-{peer.split()[0]}"
        found, milliseconds, seconds = ask_peer(peers_python or "", peer, packaged_minilm(), content, place)
        print(f"  {peer}: {mean_of(found):.4f}, {milliseconds:.1f} ms a query, a new process {seconds:.2f} s")
    better = max(mean_of(ours[mode][0]) for mode in ("vectors", "words"))
    hybrid = mean_of(ours["hybrid"][0])
    print(f"  hybrid above the better of both: {hybrid - better:+.4f}; itself {hybrid:.4f} (bar {HYBRID_BARS[source]})")
    print(f"  recall of the nearest {CUT} passages against every cosine: {recall:.4f} (bar 1)")
    vectors = ours["vectors"][0]
    shared = statistics.mean(len(set(one) & set(two)) / CUT for one, two in zip(vectors, exact, strict=True))
    difference = mean_of(vectors) - mean_of(exact)
    print(f"  vectors against exact: {difference:+.4f} (bar {BAR}); of the {CUT} documents {shared:.1%} are the same")


def main() -> None:
    """Print the figures of all, and what is to be compared."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", help="the Python of an environment with bench/requirements.txt")
    parser.add_argument("--model", default=MINILM, help=f"{MINILM} or its variant; the exact search uses {MINILM}")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder that holds the folders of the collections")
    options = parser.parse_args()
    with temporary_home() as home:
        for name, read in (("cranfield", read_cranfield), ("cisi", read_cisi)):
            folder = options.data / name
            if folder.is_dir():
                measure(home, read(folder), options.model, options.peers)
            else:
                print(f"skipped: {name} is not in {options.data}; name the folder with --data")


if __name__ == "__main__":
    main()
