"""Pages of the open web, with what a person marked on them, in ../shared/data; and how well a text agrees with that.

``segments/`` are pages with sentences that their main text must hold, and others that it must not; ``whole/`` are pages
with their whole main text. Neither they nor their sentences are part of the project.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tarfile
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from measuring import ROOT
from selectolax.lexbor import LexborHTMLParser

from kbjobs.content.encoding import decode_page

ARCHIVE = ROOT.parent / "shared" / "data" / "web-pages.tar.xz"
SHINGLE = 4  # words
# Scripts without spaces: Thai, Lao, Burmese, Khmer, the kana, Han. Korean has spaces.
WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")

Shingles = Counter[tuple[str, ...]]


@dataclass
class WebPage:
    """A page and what is known of it.

    Args:
        name: of its file.
        content: as UTF-8.
        site: what its address, or the page itself, names.
        wanted: sentences of the main text.
        unwanted: sentences that are none of it.
        expected: the whole main text, of the pages that have no sentences.
        facts: title, author and date, where a person has noted them.
    """

    name: str
    content: bytes
    site: str
    wanted: list[str] = field(default_factory=list)
    unwanted: list[str] = field(default_factory=list)
    expected: str = ""
    facts: dict[str, str] = field(default_factory=dict)


@contextmanager
def unpacked() -> Iterator[Path | None]:
    """The folder of the pages; None where the archive is not there, which is told."""
    if not ARCHIVE.is_file():
        print(f"skipped: {ARCHIVE} is not there", file=sys.stderr)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="kbjobs-web-pages-") as folder, tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
        yield Path(folder) / "web-pages"


def hash_archive() -> str:
    """sha256 of the archive."""
    return hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()


def read_pages(folder: Path) -> list[WebPage]:
    """All pages, those with sentences first."""
    known = json.loads((folder / "segments.json").read_text(encoding="utf-8"))
    pages = []
    for name, marked in sorted(known.items()):
        content = _read(folder / "segments" / name)
        facts = {key: _one(marked[key]) for key in ("title", "author", "date") if marked.get(key)}
        wanted, unwanted = (list(filter(None, map(fold, marked[key]))) for key in ("with", "without"))
        pages.append(WebPage(name, content, _site_of(marked["url"]), wanted, unwanted, "", facts))
    for place in sorted((folder / "whole").iterdir()):
        content = _read(place / "source.html")
        body = LexborHTMLParser((place / "expected.html").read_bytes()).body
        expected = body.text(separator=" ") if body is not None else ""
        pages.append(WebPage(place.name, content, _claimed_site(content) or place.name, expected=expected))
    return pages


def _read(path: Path) -> bytes:
    return decode_page(path.read_bytes()).encode("utf-8", "replace")


def _one(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "; ".join(value)


def _site_of(address: str) -> str:
    host = urlsplit(address).hostname or address.removeprefix("hard::").split("-")[0].removesuffix(".html")
    return ".".join(host.removeprefix("www.").split(".")[-2:])


def _claimed_site(page: bytes) -> str:
    link = LexborHTMLParser(page).css_first("link[rel~=canonical i][href]")
    href = (link.attributes.get("href") or "") if link is not None else ""
    return _site_of(href) if href.startswith("http") else ""


def fold(text: str) -> str:
    """A text with each white space as one blank."""
    return " ".join(text.split())


def count_shingles(texts: Iterable[str]) -> Shingles:
    """How often each run of words occurs; a run does not go from one text to the next."""
    shingles: Shingles = Counter()
    for text in texts:
        words = WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        shingles.update(tuple(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1)))
    return shingles


def score_shingles(found: Shingles, known: Shingles) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    both = (found & known).total()
    precision, recall = both / max(1, found.total()), both / max(1, known.total())
    return precision, recall, 2 * precision * recall / (precision + recall) if both else 0.0


def score_sentences(pages: Iterable[WebPage], texts: Mapping[str, str]) -> tuple[float, float, float]:
    """Precision, recall and F1 over the sentences of all pages together; ``texts`` by the pages' names."""
    right = missed = wrong = 0
    for page in pages:
        text = fold(texts[page.name])
        held = sum(sentence in text for sentence in page.wanted)
        right, missed = right + held, missed + len(page.wanted) - held
        wrong += sum(sentence in text for sentence in page.unwanted)
    precision, recall = right / max(1, right + wrong), right / max(1, right + missed)
    return precision, recall, 2 * precision * recall / max(1e-9, precision + recall)


def score_whole(pages: Iterable[WebPage], texts: Mapping[str, str]) -> tuple[float, float, float]:
    """Precision, recall and F1 by shingles, the means of the pages; ``texts`` by the pages' names."""
    rows = [score_shingles(count_shingles([texts[page.name]]), count_shingles([page.expected])) for page in pages]
    precision, recall, f1 = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    return precision, recall, f1
