"""pinecone-sync beside a loop of the pinecone library, one request of 100 records after the other.

A server of its own process on the loopback answers each request after 50 ms, within the limits of Pinecone's page on
them (2 MB a request; 100 requests and 50 MB of records a second and namespace). It looks at no vector.

- 20,000 vectors of 1,536 numbers: the seconds of the whole sync, that reads the ledger, lists, sends, and lists again
  until all is there; and of the loop, that has its records in memory and only sends.
- The same again with 1 % of the passages changed: how many records are sent.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, run_script

from kbjobs.config.home import Home
from kbjobs.content.chunking import Chunk
from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL as MODEL
from kbjobs.sources.registration import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder

sys.path.insert(0, str(ROOT))

from tests.packs.sources import Page, page

RECORDS, ROUNDS, LATENCY, CHANGED = 20_000, 5, 0.05, 0.01
KEY = "pcsk-bench"

SERVE = """
import re, sys, threading, time
from tests.servers.pinecone_server import MAX_BYTES, PineconeServer, Record, Refusal, Space
NAME = re.compile(rb'"id":"([^"]+)"')

class Quick(PineconeServer):
    began = ended = 0.0

    def answer(self, method, path, query, headers, body, fault):
        if not path.endswith("/vectors/upsert"):
            return super().answer(method, path, query, headers, body, fault)
        if len(body) > MAX_BYTES:
            raise Refusal(400, f"message length too large: {len(body)}")
        names = [one.decode() for one in NAME.findall(body)]
        (index,) = self.indexes.values()
        with self.lock:
            space = index.spaces.setdefault("docs", Space())
            self._rate(space, "upsert")
            # What the records count as: four bytes a number, not the twelve and a half that they take in JSON.
            self._rate(space, "bytes", len(body) - len(names) * 13070)
            for name in names:
                space.write(name, Record(None, {}), 0.0)
            self.upserted += names
            self.began = self.began or time.monotonic() - self.latency
            self.ended = time.monotonic()
        return 200, {"upsertedCount": len(names)}

with Quick() as server:
    server.latency = float(sys.argv[1])
    server.key = sys.argv[2]
    print(server.url, flush=True)
    for line in sys.stdin:
        if line == "begin\\n":
            server.make("kb")
        if line in ("begin\\n", "again\\n"):
            server.upserted.clear(), server.requests.clear()
            server.most_at_once = server.began = server.ended = 0
        else:
            refused = sum(status == 429 for _, status in server.requests)
            print(len(server.upserted), len(set(server.upserted)), len(server.requests), refused, server.most_at_once,
                  server.ended - server.began, flush=True)
"""

OURS = """
import json, logging, sys, time
from pathlib import Path
import pinecone, httpx, orjson
from kbjobs.context import Context
from kbjobs.phases import pinecone_sync
from kbjobs.config.settings import Home, Settings
from kbjobs.store.sources import SourceFolder

class Silent:
    def report(self, *_): pass
    def saved(self, steps): pass

home = Home(Path(sys.argv[1]))
settings = Settings(home)
source = SourceFolder(home.sources, "docs")
plan = pinecone_sync.plan(Request(home, settings, pinecone_sync.PineconeSyncParams.model_validate({}), source))
context = Context(home, settings, source, 1, Silent(), lambda: False, logging.getLogger("bench"))
started = time.perf_counter()
found = pinecone_sync.run(context, plan.params)
print(json.dumps({"seconds": time.perf_counter() - started, **found.counts}))
"""

LOOP = """
import json, os, sys, time
import numpy as np
from pinecone import Pinecone
# Numbers as short as the OpenAI API writes them, so that a hundred records are within 2 MB.
rows = np.load(sys.argv[1])
records = [
    {"id": f"record-{n}", "values": [round(float(one), 8) for one in row], "metadata": {"text": sys.argv[2]}}
    for n, row in enumerate(rows)
]
index = Pinecone(os.environ["PINECONE_API_KEY"]).index(name="kb")
started = time.perf_counter()
for first in range(0, len(records), 100):
    index.upsert(vectors=records[first : first + 100], namespace="docs")
print(json.dumps({"seconds": time.perf_counter() - started}))
"""


class Server:
    """The server's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        """Send it a word."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def report(self) -> dict[str, float]:
        """What it saw since it was last told to begin: records, different ones, requests, refused ones, the most at
        once, and the seconds from the first upsert to the answer of the last."""
        self.tell("report")
        names = ("sent", "distinct", "requests", "refused", "at_once", "sending")
        return dict(zip(names, map(float, self._read().split()), strict=True))


@contextmanager
def serving() -> Iterator[Server]:
    """A server whose address is in the environment."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(LATENCY), KEY],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            server = Server(process)
            os.environ |= {
                "PINECONE_CONTROLLER_HOST": server.url, "PINECONE_API_KEY": KEY, "KBJOBS_PINECONE_INDEX": "kb",
            }  # fmt: skip
            yield server
        finally:
            process.kill()


def make_home(folder: Path, vectors: np.ndarray) -> Home:
    """A home with the source ``docs``, one passage a page."""
    home = Home(folder)
    home.prepare()
    (folder / "pages").mkdir()
    (folder / "pages" / "page.html").write_text("<html><p>It stands for all that are in the ledger.</p></html>")
    register(home, "docs", [folder / "pages"])
    write_pages(home, range(len(vectors)), vectors)
    return home


def make_text(number: int, word: str = "water") -> str:
    """A passage of about 370 tokens."""
    return f"Page {number}\n" + " ".join(f"The {word} of well {number} lasts for {day} days." for day in range(38))


def make_chunk(text: str) -> Chunk:
    """A passage as a source's ledger holds it."""
    return Chunk(0, text, hashlib.sha256(text.encode()).hexdigest()[:32], 370)


def write_pages(home: Home, numbers: range, vectors: np.ndarray, word: str = "water") -> None:
    """Write pages with their passages and vectors into the ledger."""
    chunks = {number: make_chunk(make_text(number, word)) for number in numbers}
    with Ledger(SourceFolder(home.sources, "docs").ledger) as ledger:
        profile = ledger.profile("bench 512 1")
        model = ledger.model(MODEL.key, MODEL.name, MODEL.dimension, profile)
        pages: list[tuple[Page, str, list[Chunk]]] = [(page("docs", n), "", [chunks[n]]) for n in numbers]
        ledger.put_documents(profile, "bench", pages)
        ledger.put_vectors(model, [(chunks[n].text_hash, vectors[n].tobytes()) for n in numbers])


def measure(server: Server, home: Home, word: str) -> dict[str, Any]:
    """One sync, and what the server saw of it."""
    server.tell(word)
    return {**run_script(OURS, home.path), **server.report()}


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--records", type=int, default=RECORDS)
    asked = parser.parse_args()
    vectors = np.random.default_rng(1).standard_normal((asked.records, MODEL.dimension)).astype("<f4")
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    seconds: dict[str, list[float]] = {"sync": [], "sync, sending": [], "loop, sending": []}
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as name, serving() as server:
        folder = Path(name)
        np.save(folder / "vectors.npy", vectors)
        home = make_home(folder / "home", vectors)
        for number in range(asked.rounds):
            found = measure(server, home, "begin")
            assert found["verified"], found
            assert found["sent"] == found["distinct"] == asked.records, found
            server.tell("begin")
            run_script(LOOP, folder / "vectors.npy", make_text(0))
            loop = server.report()
            seconds["sync"].append(found["seconds"])
            seconds["sync, sending"].append(found["sending"])
            seconds["loop, sending"].append(loop["sending"])
            print(
                f"round {number + 1}: sync {found['seconds']:.2f} s, of which sending {found['sending']:.2f} s;"
                f" {found['requests']:.0f} requests, {found['at_once']:.0f} at once at most,"
                f" {found['refused']:.0f} refused; loop {loop['sending']:.2f} s, {loop['requests']:.0f} requests"
            )
        ours, sending, of_loop = map(statistics.median, seconds.values())
        print(
            f"{asked.records:,} records, medians of {asked.rounds}: sent in {sending:.2f} s, by the loop in"
            f" {of_loop:.2f} s: {of_loop / sending:.1f} x as fast (bar 5); the whole sync, with reading the ledger,"
            f" listing and looking whether all is there, {ours:.2f} s: {of_loop / ours:.1f} x"
        )
        measure(server, home, "begin")
        changed = round(asked.records * CHANGED)
        write_pages(home, range(changed), -vectors, "ice")
        found = measure(server, home, "again")
        print(
            f"{CHANGED:.0%} changed: {found['sent']:,.0f} records sent of {asked.records:,} ({found['to_push']:,} new,"
            f" {found['to_delete']:,} deleted) in {found['seconds']:.2f} s"
        )
        shutil.rmtree(home.path)


if __name__ == "__main__":
    main()
