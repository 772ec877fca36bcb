"""A scan brings every file of a source into its ledger, reads again only what changed, and removes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.content.chunking import Chunker
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.token_embedder import load_tokenizer
from kbjobs.scanning.changes import ScanScope
from kbjobs.scanning.enumeration import Scan, TooManyRemovedError
from kbjobs.scanning.scan import Cutting, scan_source
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import MODEL, write_pages
from tests.phases.test_index_offline import context

WHOLE = ScanScope()

pytestmark = pytest.mark.usefixtures("minilm")


@pytest.fixture
def ledger(home: Home) -> Iterator[Ledger]:
    folder = SourceFolder(home.sources, "docs")
    folder.path.mkdir(parents=True)
    opened = Ledger(folder.ledger)
    yield opened
    opened.close()


@pytest.fixture
def scan(home: Home, ledger: Ledger) -> Callable[..., Scan]:
    """Scans the source docs, cutting as for the packaged model."""
    profile = ledger.profile("test")
    cutting = Cutting(profile, Chunker(load_tokenizer(find_model(MODEL, home.models)), 256))

    def run(scope: ScanScope = WHOLE) -> Scan:
        changes = scan_source(context(home, "docs"), ledger, cutting, (0.0, 1.0), scope)
        changes.remember()
        return changes.found.scan

    return run


def counts(scan: Scan) -> tuple[int, int, int]:
    return scan.new, scan.changed, scan.unchanged


def settle(pages: Path) -> Path:
    """Let the files be old: one just written is not yet trusted to stay as it is."""
    for page in pages.rglob("*.html"):
        os.utime(page, (1e9, 1e9))
    return pages


def test_only_what_changed_is_read_again(
    home: Home, tmp_path: Path, ledger: Ledger, scan: Callable[..., Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = settle(write_pages(tmp_path / "pages", 6))
    register(home, "docs", [pages])
    assert counts(scan()) == (6, 0, 0)
    (pages / "page0.html").write_text("<title>Other</title><p>Other words.</p>")
    (pages / "new.html").write_text("<title>New</title><p>New words.</p>")
    os.utime(pages / "page1.html", (2e9, 2e9))  # touched, and the same as before
    read: list[str] = []
    real = Chunker.chunk_many

    def chunk_many(self: Chunker, documents: list[object]) -> list[object]:
        read.extend(document.title for document in documents)  # type: ignore[attr-defined]
        return real(self, documents)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr(Chunker, "chunk_many", chunk_many)
    assert counts(scan()) == (1, 1, 5)
    assert sorted(read) == ["New", "Other", "Page 1"]
    assert counts(scan(ScanScope(reread=True))) == (0, 0, 7)
    assert ledger.count_documents() == 7


def test_what_has_vanished_is_named_and_removed_by_nobody(
    home: Home, tmp_path: Path, ledger: Ledger, scan: Callable[..., Scan]
) -> None:
    pages = write_pages(tmp_path / "pages", 10)
    register(home, "docs", [pages])
    scan()
    for number in range(2):
        (pages / f"page{number}.html").unlink()
    assert len(scan().vanished) == 2
    (pages / "page2.html").unlink()
    with pytest.raises(TooManyRemovedError, match="3 of the 10"):
        scan()
    assert len(scan(ScanScope(allow_delete=True)).vanished) == 3
    assert ledger.count_documents() == 10


def test_what_cannot_be_read_is_listed_with_its_reason(home: Home, tmp_path: Path, scan: Callable[..., Scan]) -> None:
    pages = write_pages(tmp_path / "pages", 2)
    (pages / "empty.html").touch()
    (pages / "link.html").symlink_to(pages / "page0.html")
    register(home, "docs", [pages])
    found = scan()
    assert counts(found) == (2, 0, 0)
    [(failed, reason)] = found.failed
    assert failed.endswith("empty.html") and "empty" in reason
    [(skipped, _)] = found.skipped
    assert skipped.endswith("link.html")


@pytest.mark.full
def test_the_whole_of_python3_doc_is_read(
    home: Home, python_docs: Path, ledger: Ledger, scan: Callable[..., Scan]
) -> None:
    register(home, "docs", [python_docs])
    first = scan()
    files = [*python_docs.rglob("*.html"), *python_docs.rglob("*.txt")]
    assert (first.new, first.failed) == (len(files), [])
    assert counts(scan()) == (0, 0, len(files))
    assert ledger.connection.execute("SELECT count(*) FROM links").fetchone()[0] > 1000
    assert "en" in {row[0] for row in ledger.connection.execute("SELECT DISTINCT language FROM documents")}
