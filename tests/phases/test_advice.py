"""Advice that several types give."""

from __future__ import annotations

from pathlib import Path

from kbjobs.phases.advice import advise_metadata, has_metadata
from kbjobs.settings import Home
from kbjobs.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import write_pages
from tests.phases.test_metadata import describe_pages


def test_a_source_without_metadata(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    folder = SourceFolder(home.sources, "docs")
    missing = ["source 'docs' has no metadata: add metadata first"]
    assert advise_metadata(folder, ()) == missing
    assert not folder.ledger.exists()  # asking makes nothing
    Ledger(folder.ledger).close()
    assert advise_metadata(folder, ("scrape",)) == missing
    assert advise_metadata(folder, ("metadata",)) == []
    describe_pages(home)
    assert has_metadata(folder)
    assert advise_metadata(folder, ()) == []
