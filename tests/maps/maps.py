"""Ledgers to draw maps of: documents whose vectors lie around a few topics, and what others may write in them."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from kbjobs.config.home import Home
from kbjobs.content.document import Document, document_id
from kbjobs.context import PhaseResult
from kbjobs.maps.drawing import MapRequest, draw_map
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.metadata import put_metadata
from kbjobs.store.sources import SourceFolder
from tests.conftest import write_pages
from tests.packs.sources import Cut, Facts
from tests.phases.test_index_offline import context

DIMENSION = 16
TOPICS = ("Water purification", "Radio antenna", "Bread oven", "Wound dressing")
HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\u202eright to left\u202c \0 nul",
    "<!--<script>",
    "{{script}} {{numbers}} \\u003c ${1}",
    "long " * 200_000,
)
HOSTILE_URLS = ("javascript:document.title='owned'", "data:text/html,<script>1</script>", "https://example.org/\u202e")


def titled(source: str, number: int, title: str = "", url: str = "", language: str | None = "en") -> Document:
    """A document of a topic, or with a title of its own; each links to the next, which is of another topic."""
    address = f"https://example.org/{source}/page{{}}.html"
    key = f"page{number}.html"
    name = title or f"{TOPICS[number % len(TOPICS)]} {number}"
    content_hash = hashlib.sha256(f"{key} {name[:99]}".encode()).hexdigest()
    links = (address.format(number + 1),)
    return Document(
        document_id(source, key), key, url or address.format(number), name, language, (), content_hash, 7, links
    )


def draw_vectors(numbers: list[int], dimension: int) -> np.ndarray:
    """A unit vector for each, near the axis of its topic; the same for the same number."""
    rows = []
    for number in numbers:
        row = 0.2 * np.random.default_rng(number).standard_normal(dimension)
        row[number % len(TOPICS)] += 1
        rows.append(row / np.linalg.norm(row))
    return np.array(rows, "<f4")


def fill_map(
    home: Home, source: str, documents: list[Document], model: str = "tiny", dimension: int = DIMENSION
) -> SourceFolder:
    """Write documents with a passage and a vector each into the ledger of a source, which is there afterwards."""
    folder = SourceFolder(home.sources, source)
    if not folder.manifest.exists():
        home.prepare()
        register(home, source, [write_pages(home.path.parent / f"pages-{source}", 1)])
    with Ledger(folder.ledger) as ledger:
        profile = ledger.profile(f"{model} 1")
        row = ledger.model(f"{model}-0", model, dimension, profile)
        cuts = {}
        for one in documents:
            text = f"{one.title}\nAll about {one.title}"
            cuts[one.doc_id] = Cut(0, text)
        ledger.put_documents(profile, "p", [(one, "s", [cuts[one.doc_id]]) for one in documents])
        described = [
            (one, "s", replace(Facts(), language=one.language, snippet=f"All about {one.title}")) for one in documents
        ]
        put_metadata(ledger, "p", "s", described)
        vectors = draw_vectors(list(range(len(documents))), dimension)
        hashes = [cuts[one.doc_id].text_hash for one in documents]
        ledger.put_vectors(row, [(name, vector.tobytes()) for name, vector in zip(hashes, vectors, strict=True)])
        ledger.connection.execute("UPDATE links SET target = (SELECT doc_id FROM documents d WHERE d.url = links.url)")
    return folder


def draw_source(home: Home, source: str, method: str = "pca") -> PhaseResult:
    """Draw the map of one source in this process."""
    return draw_map(context(home, source), MapRequest((source,), True, method))


def draw_several(home: Home, *sources: str, dimension: int | None = None) -> PhaseResult:
    """Draw the map of several in this process."""
    return draw_map(replace(context(home, sources[0]), folder=None), MapRequest(sources, False, "pca", dimension))


def mixed_documents(source: str, count: int, languages: tuple[str, ...] = ("en", "fr")) -> list[Document]:
    """Documents of all topics, of several languages."""
    draw = random.Random(4)
    return [titled(source, number, language=draw.choice(languages)) for number in range(count)]


def page_of(home: Home, source: str) -> Path:
    """Where the page of a source's map lies."""
    return home.visualisation / f"{source}.html"
