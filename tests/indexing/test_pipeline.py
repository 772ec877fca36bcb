"""The pipeline itself, with the real embedder and every text it is given counted: nothing is embedded twice or lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.embedder import Embedder, EmbeddingError
from kbjobs.errors import JobCancelled
from kbjobs.indexing.cutting import IndexOptions
from kbjobs.indexing.pipeline import run_index
from kbjobs.retrieval.hits import Query
from kbjobs.services.search import search_home
from kbjobs.services.sources import SourceFields, register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import MODEL, copy_pages, write_pages
from tests.phases.test_index_offline import context, index, ledger_vectors, titles

pytestmark = pytest.mark.usefixtures("minilm")


def found_files(home: Home) -> set[str]:
    """The names of the files whose passages a search can give: it asks for all there are."""
    return {Path(hit.url).name for hit in search_home(home, Query("words", ("docs",), 5000), [])}


class CountingEmbedder:
    """The real embedder; counts the texts it is given and may fail where told."""

    def __init__(self, real: Embedder, before: Callable[[Sequence[str]], None] = lambda texts: None) -> None:
        self.real, self.before = real, before
        self.embedded: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def embed(self, texts: Sequence[str]) -> Any:
        self.before(texts)
        self.embedded.extend(texts)
        return self.real.embed(texts)


@pytest.fixture(scope="session")
def embedder(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    engines.mkdir(exist_ok=True)
    loaded = load_embedder(MODEL, tmp_path_factory.mktemp("models"), engines)
    yield loaded
    loaded.close()


def test_an_edited_python3_doc_embeds_exactly_the_new_passages(
    home: Home, tmp_path: Path, python_docs: Path, embedder: Embedder
) -> None:
    """The whole of it would take minutes: the pages of one folder are indexed, all 541 are scanned."""
    pages = tmp_path / "html"
    for folder in ("tutorial", "installing", "extending", "distributing"):
        if (python_docs / folder).is_dir():
            copy_pages(python_docs, pages / folder, 100, folder)
    register(home, "docs", [pages], SourceFields(base_url="https://docs.example.org/3/"))
    first = index(home).counts
    assert first["failed"] == 0
    assert first["embedded"] > 200
    assert first["documents"] == first["new"] > 20
    again = index(home).counts
    assert (again["embedded"], again["unchanged"], again["chunks"]) == (0, first["documents"], first["chunks"])
    before = ledger_vectors(home)

    tutorial = sorted((pages / "tutorial").glob("*.html"))
    for page in tutorial[:3]:
        text = page.read_text()
        page.write_text(text.replace("</h1>", "</h1><p>An axolotl regrows its limbs, unlike a snake.</p>", 1))
    for name in ("new-one", "new-two"):
        (pages / f"{name}.html").write_text(
            f"<title>{name}</title><h1>{name}</h1><p>Quokkas smile at {name} and eat leaves at dusk.</p>"
        )
    deleted = tutorial[3:7]
    names = {page.name for page in deleted}
    assert names <= found_files(home)
    for page in deleted:
        page.unlink()

    counting = CountingEmbedder(embedder)
    result = run_index(context(home, "docs"), counting, IndexOptions())
    counts = result.counts
    assert (counts["changed"], counts["new"], counts["deleted"], counts["failed"]) == (3, 2, 4, 0)
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    now = {row[0] for row in ledger.connection.execute("SELECT DISTINCT text_hash FROM chunks")}
    texts = dict(ledger.connection.execute("SELECT text_hash, text FROM chunks").fetchall())
    ledger.close()
    assert sorted(counting.embedded) == sorted(texts[text_hash] for text_hash in now - set(before))
    assert counts["embedded"] == len(counting.embedded) > 0
    assert counts["reused"] == counts["chunks"] - counts["embedded"]
    assert "3 changed, 4 deleted" in result.summary
    assert "new-one" in titles(home, "Quokkas eat leaves at dusk")
    passages = search_home(home, Query("an axolotl regrows its limbs", ("docs",), 3), [])
    assert {Path(hit.url).name for hit in passages} == {page.name for page in tutorial[:3]}
    assert not names & found_files(home)
    assert verify(home, "docs").ok


def test_the_same_text_in_two_documents_is_embedded_once_and_found_twice(
    home: Home, tmp_path: Path, embedder: Embedder
) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    for name in ("a", "b"):
        (pages / f"{name}.html").write_text("<title>Same</title><p>Store water in clean, dark containers.</p>")
    register(home, "docs", [pages])
    counting = CountingEmbedder(embedder)
    counts = run_index(context(home, "docs"), counting, IndexOptions()).counts
    assert (counts["documents"], counts["chunks"], counts["embedded"], counts["reused"]) == (2, 2, 1, 1)
    assert len(counting.embedded) == 1
    assert titles(home, "store water", 5) == ["Same", "Same"]
    (pages / "a.html").unlink()
    run_index(context(home, "docs"), counting, IndexOptions(allow_delete=True))
    assert titles(home, "store water", 5) == ["Same"]
    assert len(counting.embedded) == 1


@pytest.mark.full
def test_force_embeds_everything_again_and_goes_on_after_a_stop(home: Home, tmp_path: Path, embedder: Embedder) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 800)])
    first = run_index(context(home, "docs"), embedder, IndexOptions()).counts
    counting = CountingEmbedder(embedder)

    def stop() -> bool:
        return len(counting.embedded) > 300

    with pytest.raises(JobCancelled):
        run_index(context(home, "docs", stop, 7), counting, IndexOptions(force=True))
    embedded_before = len(counting.embedded)
    assert 300 < embedded_before < first["chunks"]
    run_index(context(home, "docs", job_id=7), counting, IndexOptions(force=True))
    assert len(counting.embedded) == first["chunks"]
    assert verify(home, "docs").ok
    counts = run_index(context(home, "docs", job_id=8), counting, IndexOptions(force=True)).counts
    assert counts["embedded"] == first["chunks"]


def test_a_text_the_model_fails_on_is_counted_and_the_rest_goes_on(
    home: Home, tmp_path: Path, embedder: Embedder
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 5)])

    def fail(texts: Sequence[str]) -> None:
        if any("number 3" in text for text in texts):
            raise EmbeddingError(0, "not a number")

    result = run_index(context(home, "docs"), CountingEmbedder(embedder, fail), IndexOptions())
    assert (result.failed, result.counts["embedded"]) == (1, 4)
    assert len(titles(home, "kettle", 10)) == 4
    assert all(np.frombuffer(vector, "<f4").any() for vector in ledger_vectors(home).values())
    again = run_index(context(home, "docs"), embedder, IndexOptions()).counts
    assert (again["embedded"], again["failed"]) == (1, 0)


def test_a_stop_anywhere_costs_at_most_one_batch(home: Home, tmp_path: Path, embedder: Embedder) -> None:
    """The process dies right after computing a batch, again and again: each batch is computed twice at most."""
    register(home, "docs", [write_pages(tmp_path / "pages", 900)])
    generator = random.Random(4)
    counting = CountingEmbedder(embedder)
    deaths = 0

    class Death(BaseException):
        pass

    def die(texts: Sequence[str]) -> None:
        nonlocal deaths
        if generator.random() < 0.4 and deaths < 8:
            deaths += 1
            counting.embedded.extend(texts)
            raise Death

    counting.before = die
    while True:
        try:
            counts = run_index(context(home, "docs"), counting, IndexOptions()).counts
            break
        except Death:
            continue
    assert deaths >= 3
    largest_batch = 8192 // 16
    assert counts["chunks"] < len(counting.embedded) <= counts["chunks"] + deaths * largest_batch
    assert verify(home, "docs").ok
