"""Maps of 50,000 and 200,000 documents: seconds and memory to draw one, its bytes, its first frame and the median one.

The titles and texts are made up word by word as the Python documentation puts words in order; the vectors are unit
vectors of 384 dimensions around made-up topics. The ledger, the job's own code in a process of its own, the files and
the browser (Debian's chromium, drawing without a graphics card) are real. What a page takes of real titles is measured
on the sections of the Python documentation.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import random
import re
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from measuring import PYTHON_DOCS, run_script, temporary_home

from kbjobs.config.home import Home
from kbjobs.content.chunking import Chunk
from kbjobs.content.document import Document
from kbjobs.maps.point_encoding import Points, pack_numbers, pack_texts
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.metadata import resolve_links
from kbjobs.store.sources import SourceFolder

DIMENSION, TOPICS, BATCH, LINKS = 384, 14, 5_000, 3
SIZES = {50_000: (20.0, 1.5), 200_000: (60.0, 4.0)}  # bars: seconds to draw, seconds to the first frame
BYTES, FRAME, FRAMES = 60.0, 0.1, 40  # bars: of a point, seconds of the median frame at 50,000
SITE = "https://wiki.example.org/"
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]

DRAW = """
import json, logging, resource, sys, time
from kbjobs.context import Context
from kbjobs.phases.visualisation import VisualisationParams, run
from kbjobs.config.home import current_home
from kbjobs.config.settings import Settings
from kbjobs.store.sources import SourceFolder

class Silent:
    def report(self, *arguments): pass
    def saved(self, steps): pass

home = current_home()
context = Context(home, Settings(home), SourceFolder(home.sources, sys.argv[1]), 1, Silent(), lambda: False,
                  logging.getLogger("bench"))
started = time.perf_counter()
result = run(context, VisualisationParams())
seconds = time.perf_counter() - started
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, result.summary]))
"""

TURN = """
async (frames) => {
  const canvas = document.getElementById("map");
  const times = [];
  await new Promise((done) => {
    const step = (now) => {
      times.push(now);
      if (times.length > frames) return done();
      canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  });
  return times.slice(1).map((time, index) => time - times[index]);
}
"""


def read_sections() -> list[tuple[str, str, str]]:
    """Title, address and beginning of the sections of the Python documentation."""
    found = []
    for path in sorted(PYTHON_DOCS.rglob("*.html")):
        text = path.read_text(errors="replace")
        for part in re.finditer(r'<(?:dt class="sig[^>]*" id|section id)="([^"]+)"(.*?)<p>(.*?)</p>', text, re.DOTALL):
            heading = re.search(r"<h\d>(.*?)<a", part[2], re.DOTALL)
            title, body = (plain(heading[1]) if heading else part[1]), plain(part[3])
            if len(body) > 40:
                found.append((title, f"https://docs.python.org/3/{path.relative_to(PYTHON_DOCS)}#{part[1]}", body))
    return sorted(set(found), key=lambda row: row[1])


def plain(markup: str) -> str:
    """The text of some HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", markup)).split())


class Writer:
    """Makes texts of which each word follows one that it follows in the texts it has learned from."""

    def __init__(self, texts: list[str]) -> None:
        self._next: dict[str, list[str]] = defaultdict(list)
        for text in texts:
            words = text.split()
            for a, b in pairwise(words):
                self._next[a].append(b)
        self._starts = sorted({text.split()[0] for text in texts if text[:1].isupper()})

    def write(self, draw: random.Random, most: int) -> str:
        """A text of at most so many characters."""
        word = draw.choice(self._starts)
        text = word
        while len(text) < most and self._next.get(word):
            word = draw.choice(self._next[word])
            text += f" {word}"
        return text[:most]


def make_documents(count: int, writer: Writer) -> Iterator[tuple[Document, list[Chunk]]]:
    """Documents of one passage each, which link to each other."""
    draw = random.Random(7)
    names: dict[str, None] = {}
    while len(names) < count:
        name = re.sub(r"[^\w ]", "", writer.write(draw, draw.randint(8, 42))).strip()
        names[name if name and name not in names else f"{name} ({len(names)})".strip()] = None
    addresses = [f"{SITE}{name.replace(' ', '_')}" for name in names]
    for number, name in enumerate(names):
        doc_id = hashlib.sha256(f"bench\0{number}".encode()).hexdigest()[:32]
        text = f"{name}\n{writer.write(draw, 400)}"
        links = tuple(draw.choice(addresses) for _ in range(LINKS))
        document = Document(doc_id, str(number), addresses[number], name, "en", (), str(number), 60, links)
        yield document, [Chunk(0, text, hashlib.sha256(text.encode()).hexdigest()[:32], 90)]


def write_source(home: Home, name: str, count: int, writer: Writer) -> None:
    """Register a source and fill its ledger."""
    register(home, name, [PYTHON_DOCS])
    draw = np.random.default_rng(7)
    topics = draw.standard_normal((TOPICS, DIMENSION))
    ledger = Ledger(SourceFolder(home.sources, name).ledger)
    profile = ledger.profile("bench 1")
    model = ledger.model("bench-0", "bench", DIMENSION, profile)
    numbers: dict[str, str] = {}
    batch: list[tuple[Document, str, list[Chunk]]] = []

    def put() -> None:
        ledger.put_documents(profile, "bench", batch)
        rows = topics[draw.integers(TOPICS, size=len(batch))] + 1.5 * draw.standard_normal((len(batch), DIMENSION))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")
        hashes = [chunks[0].text_hash for _, _, chunks in batch]
        ledger.put_vectors(model, [(text, row.tobytes()) for text, row in zip(hashes, rows, strict=True)])
        batch.clear()

    for document, chunks in make_documents(count, writer):
        numbers[document.url] = document.doc_id
        batch.append((document, "", chunks))
        if len(batch) == BATCH:
            put()
    if batch:
        put()
    resolve_links(ledger, numbers.get, lambda: None)
    ledger.close()


def look(page: Path) -> tuple[float, float]:
    """Seconds from the opening of a page to its first frame, and of the median frame while it turns."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as browsers, tempfile.TemporaryDirectory() as folder:
        context = browsers.chromium.launch_persistent_context(
            folder, executable_path=CHROMIUM, headless=True, args=FLAGS, viewport={"width": 1280, "height": 800}
        )
        tab = context.pages[0]
        tab.goto("about:blank")
        tab.goto(page.as_uri())
        deadline = time.monotonic() + 60
        while not (marks := tab.evaluate("performance.getEntriesByName('drawn').map((one) => one.startTime)")):
            if time.monotonic() > deadline:
                raise SystemExit(f"{page} was not drawn")
        frames: list[float] = tab.evaluate(TURN, FRAMES)
        context.close()
    return marks[0] / 1000, statistics.median(frames) / 1000


def tell(name: str, value: float, bar: float, unit: str) -> None:
    """Print a figure with its bar."""
    print(f"  {name}: {value:.2f} {unit} (bar {bar:g}{'' if value <= bar else ', MISSED'})")


def measure_real(sections: list[tuple[str, str, str]]) -> None:
    """Print what a point takes of real titles."""
    titles, urls, texts = zip(*sections, strict=True)
    count = len(sections)
    places = np.random.default_rng(7).uniform(-1, 1, (count, 3))
    numbers: Any = np.arange(count) % TOPICS
    points = Points(places, numbers, numbers * 0, numbers * 0, [], titles, urls, [text[:80] for text in texts])
    taken = len(pack_numbers(points, np.empty((0, 2), np.int64))) + len(pack_texts(points))
    print(f"{count:,} sections of the Python documentation, snippets of 80 characters:")
    tell("page", taken / count, BYTES, "bytes a point")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    sizes = parser.parse_args().sizes
    if not PYTHON_DOCS.is_dir():
        raise SystemExit("the Python documentation is not here: sh tests/real/fetch_inputs.sh")
    sections = read_sections()
    measure_real(sections)
    writer = Writer([text for _, _, text in sections])
    with temporary_home() as home:
        for count in sizes:
            draw_bar, frame_bar = SIZES.get(count, (60.0, 4.0))
            name = f"bench{count}"
            write_source(home, name, count, writer)
            seconds, megabytes, summary = run_script(DRAW, name)
            print(f"{count:,} documents: {summary}")
            tell("drawn", seconds, draw_bar, "s")
            print(f"  peak memory: {megabytes:.0f} MB")
            again, _, _ = run_script(DRAW, name)
            print(f"  again, unchanged: {again:.2f} s")
            page = home.visualisation / f"{name}.html"
            tell("page", page.stat().st_size / count, BYTES, "bytes a point")
            print(f"  JSON: {page.with_suffix('.json').stat().st_size / 1e6:.1f} MB")
            if shutil.which(CHROMIUM) is None:
                print("  frames: chromium is not installed")
                continue
            first, median = look(page)
            tell("first frame", first, frame_bar, "s")
            if count <= 50_000:
                tell("median frame", median, FRAME, "s")
            else:
                print(f"  median frame: {median:.2f} s")


if __name__ == "__main__":
    main()
