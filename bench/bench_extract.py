"""How well and how fast the main text is found: ours against trafilatura, resiliparse and the whole body's text.

The pages are real, and the main text of each is known from a second source; fetch_pages.py says which. Texts are
compared by their shingles: runs of four words, as often as each occurs; a letter of a script without spaces counts as a
word. Precision is the share of the extracted shingles that the known text has, recall that of the known ones that were
extracted. A book is compared as a whole, its pages together. A family's figures are means of its pages or books, those
of all are means of the families. Speed is measured in turns, pages decoded beforehand; the median counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from extraction_peers import PEERS
from fetch_pages import PAGES, fetch_pages
from measuring import ROOT
from selectolax.lexbor import LexborHTMLParser
from web_pages import WebPage, count_shingles, read_pages, score_sentences, score_shingles, score_whole, unpacked

from kbjobs.content.encoding import decode_page
from kbjobs.content.html import extract_html

ROUNDS = 5


@dataclass(frozen=True)
class Known:
    """Pages, and the text that they hold together."""

    family: str
    pages: list[Path]
    text: Path


def find_known() -> list[Known]:
    """The books and single pages of all families."""
    books = [Known(book.parts[-3], sorted(book.parent.glob("*.html")), book) for book in PAGES.glob("*/*/book.txt")]
    singles = [Known(text.parent.name, [text.with_suffix(".html")], text) for text in PAGES.glob("*/*.txt")]
    return sorted([*books, *singles], key=lambda known: (known.family, known.text))


def ours(page: bytes) -> str:
    """The blocks of a page, one a line."""
    return "\n".join([block.text for block in extract_html(page).blocks])


def whole_body(page: bytes) -> str:
    """All text of the body."""
    body = LexborHTMLParser(page).body
    return body.text(separator=" ") if body is not None else ""


def measure_here(extract: Callable[[bytes], str], folder: Path) -> dict[str, Any]:
    """Seconds and texts of a function of this process."""
    pages = [path.read_bytes() for path in sorted(folder.glob("*.html"))]
    begun = time.perf_counter()
    texts = [extract(page) for page in pages]
    return {"seconds": time.perf_counter() - begun, "texts": texts}


def measure_peer(python: str, peer: str, folder: Path) -> dict[str, Any]:
    """Seconds and texts of a peer in its own environment."""
    command = [python, str(ROOT / "bench" / "extraction_peers.py"), peer, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{peer} failed:\n{ended.stderr}")
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def score_families(known: Sequence[Known], texts: Sequence[str]) -> dict[str, list[float]]:
    """Precision, recall and F1 of each family; ``texts`` are those of all pages, in order."""
    scores: dict[str, list[tuple[float, float, float]]] = {}
    following = iter(texts)
    for one in known:
        found = count_shingles([next(following) for _ in one.pages])
        scores.setdefault(one.family, []).append(score_shingles(found, count_shingles([one.text.read_text()])))
    means = {family: [statistics.mean(column) for column in zip(*rows, strict=True)] for family, rows in scores.items()}
    return means | {"all": [statistics.mean(column) for column in zip(*means.values(), strict=True)]}


def main() -> None:
    """Print the figures of all, by family."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", help="the Python of an environment with bench/requirements.txt")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    fetch_pages()
    known = find_known()
    if not known:
        print("skipped: no page could be fetched")
        return
    pages = [page for one in known for page in one.pages]
    decoded = [decode_page(page.read_bytes()).encode("utf-8", "replace") for page in pages]
    rounds = measure(decoded, options.peers, options.rounds)
    families = Counter(one.family for one in known for _ in one.pages)
    print(f"{len(pages)} pages: " + ", ".join(f"{family} {count}" for family, count in families.items()))
    scores = {way: score_families(known, measured["texts"]) for way, measured in rounds[0].items()}
    for family in next(iter(scores.values())):
        for way, found in scores.items():
            tell(family, way, found[family])
    tell_speed(rounds, len(pages))
    with unpacked() as folder:
        if folder is not None:
            measure_open_web(read_pages(folder), options.peers, options.rounds)


def measure_open_web(pages: Sequence[WebPage], peers: str | None, count: int) -> None:
    """Print the figures of the pages of the open web."""
    rounds = measure([page.content for page in pages], peers, count)
    for way, measured in rounds[0].items():
        texts = dict(zip([page.name for page in pages], measured["texts"], strict=True))
        shown = "shipped" if way == "kbjobs" else way
        marked, whole = [page for page in pages if not page.expected], [page for page in pages if page.expected]
        tell("open web (sentences)", shown, score_sentences(marked, texts))
        tell("open web (whole)", shown, score_whole(whole, texts))
    tell_speed(rounds, len(pages))


def measure(pages: Sequence[bytes], peers: str | None, count: int) -> list[dict[str, dict[str, Any]]]:
    """Seconds and texts of every way, in turns."""
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as name:
        folder = Path(name)
        for number, page in enumerate(pages):
            (folder / f"{number:05}.html").write_bytes(page)
        ways: dict[str, Callable[[], dict[str, Any]]] = {
            "kbjobs": lambda: measure_here(ours, folder),
            "body": lambda: measure_here(whole_body, folder),
        }
        if peers:
            ways |= {peer: partial(measure_peer, peers, peer, folder) for peer in PEERS}
        return [{way: take() for way, take in ways.items()} for _ in range(count)]


def tell(family: str, way: str, scores: Sequence[float]) -> None:
    """Print one way's figures of a family."""
    precision, recall, f1 = scores
    print(f"  {family:20} {way:12} precision {precision:.3f}  recall {recall:.3f}  F1 {f1:.3f}")


def tell_speed(rounds: Sequence[dict[str, dict[str, Any]]], count: int) -> None:
    """Print the pages a second of every way, the median of the rounds."""
    for way in rounds[0]:
        seconds = statistics.median(measured[way]["seconds"] for measured in rounds)
        print(f"  {way}: {count / seconds:,.0f} pages/s")


if __name__ == "__main__":
    main()
