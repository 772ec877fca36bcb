"""Sources whose ledgers are written without a model: documents, metadata, links, passages and vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kbjobs.config.home import Home
from kbjobs.content.document import About, document_id
from kbjobs.sources.registration import NOT_DESCRIBED, SourceFields, register
from kbjobs.store.ledger import Ledger
from kbjobs.store.metadata import put_metadata
from kbjobs.store.sources import SourceFolder
from tests.conftest import write_pages

DIMENSION = 8
MODEL = "tiny-0123456789ab"
PROFILE = "tokens 256 2"


@dataclass(frozen=True)
class Page:
    doc_id: str
    path: str
    url: str
    title: str
    content_hash: str
    links: Sequence[str] = ()
    language: str | None = "en"
    word_count: int = 7


@dataclass(frozen=True)
class Cut:
    ordinal: int
    text: str
    tokens: int = 9
    page: int = 0

    @property
    def text_hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Facts:
    language: str | None = "en"
    evidence: object = None
    about: About = field(default_factory=lambda: About("About it", "2024-05", ("Ann",), ("Water",), "how-to"))
    snippet: str = "It begins so"
    characters: int = 70
    heading_count: int = 1
    headings: Sequence[tuple[int, str]] = ((1, "A heading"),)


def page(source: str, number: int, base: str = "https://wiki.example.org/", **more: object) -> Page:
    key = f"pages/page{number}.html"
    values: dict[str, object] = {
        "doc_id": document_id(source, key),
        "path": key,
        "url": f"{base}page{number}.html",
        "title": f"Page {number}",
        "content_hash": hashlib.sha256(key.encode()).hexdigest(),
        "links": (f"{base}page{number + 1}.html",),
    }
    return Page(**{**values, **more})  # type: ignore[arg-type]


def vector_of(text_hash: str, dimension: int = DIMENSION) -> bytes:
    """Numbers of unit length, the same for the same text."""
    rows = np.random.default_rng(int(text_hash[:12], 16)).standard_normal(dimension).astype("<f4")
    return (rows / np.linalg.norm(rows)).astype("<f4").tobytes()


def texts_of(one: Page, count: int = 2) -> list[Cut]:
    """Passages of a page; the last is on every page."""
    return [Cut(number, f"{one.title}\nPassage {number}") for number in range(count - 1)] + [Cut(count - 1, "Footer")]


def fill(folder: SourceFolder, pages: Sequence[Page], model: str = MODEL, dimension: int = DIMENSION) -> None:
    """Write pages with their passages and vectors into a source's ledger."""
    with Ledger(folder.ledger) as ledger:
        profile = ledger.profile(PROFILE)
        row = ledger.model(model, model.rpartition("-")[0], dimension, profile)
        pipeline = "2.3 https://user:pipeline-secret@wiki.example.org/"
        ledger.put_documents(profile, pipeline, [(one, "signature-secret", texts_of(one)) for one in pages])
        put_metadata(ledger, pipeline, "state-secret", [(one, "signature-secret", Facts()) for one in pages])
        hashes = dict.fromkeys(cut.text_hash for one in pages for cut in texts_of(one))
        ledger.put_vectors(row, [(name, vector_of(name, dimension)) for name in hashes])
        ledger.connection.execute("UPDATE links SET target = (SELECT doc_id FROM documents d WHERE d.url = links.url)")


def make_source(
    home: Home,
    tmp_path: Path,
    source: str = "wiki",
    count: int = 5,
    described: SourceFields = NOT_DESCRIBED,
) -> SourceFolder:
    """A source of some pages, which lie in ``tmp_path / "pages"``."""
    home.prepare()
    register(home, source, [write_pages(tmp_path / "pages", count)], described)
    folder = SourceFolder(home.sources, source)
    fill(folder, [page(source, number) for number in range(count)])
    return folder
