"""What an index job is expected to embed: exact where all was read, near where a sample was, and nothing is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.embedding.openai_embedder import PASSAGE_TOKENS
from kbjobs.embedding.openai_tokens import Cl100kTokens
from kbjobs.indexing import source_diff
from kbjobs.indexing.cutting import IndexOptions
from kbjobs.indexing.source_diff import SourceDiff, TextModel, forecast_source
from kbjobs.phases import index_online
from kbjobs.scanning.scan_forecast import count_documents
from kbjobs.services.sources import register
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs, real_input, write_pages
from tests.content.zims import ZIMS
from tests.servers.openai_server import OpenAIServer


def forecast(home: Home, source: str = "docs", options: IndexOptions | None = None) -> SourceDiff:
    model = TextModel(index_online.MODEL.key, Cl100kTokens(), PASSAGE_TOKENS)
    folder = SourceFolder(home.sources, source)
    return forecast_source(home, Settings(home), folder, model, options or IndexOptions(keeps_cut=True))


def count_exactly(kbjobs: Kbjobs) -> dict[str, int]:
    lines = kbjobs("run", "index-online", "docs", "--dry-run", "--json").stdout.splitlines()
    counts: dict[str, int] = json.loads(lines[-1])["job"]["result"]
    return counts


def test_a_small_source_is_counted_exactly(
    home: Home, kbjobs: Kbjobs, openai_api: OpenAIServer, tmp_path: Path
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 12)])
    before = sorted(path.name for path in SourceFolder(home.sources, "docs").path.iterdir())
    found = forecast(home)
    assert sorted(path.name for path in SourceFolder(home.sources, "docs").path.iterdir()) == before
    exact = count_exactly(kbjobs)
    assert (found.documents, found.passages, found.missing, found.tokens) == (
        exact["documents"], exact["chunks"], exact["would_embed"], exact["tokens"],
    )  # fmt: skip
    assert found.is_exact and found.sampled == 12


def test_of_what_is_indexed_only_what_changed_is_read(
    home: Home, kbjobs: Kbjobs, openai_api: OpenAIServer, tmp_path: Path
) -> None:
    pages = write_pages(tmp_path / "pages", 6)
    register(home, "docs", [pages])
    kbjobs("run", "index-online", "docs")
    all_again = forecast(home, options=IndexOptions(force=True))
    assert all_again.missing == all_again.passages > 0
    for page in pages.iterdir():  # an hour ago: a file of the last two seconds is not trusted
        shutil.copystat(__file__, page)
    kbjobs("run", "index-online", "docs")
    unchanged = forecast(home)
    assert (unchanged.documents, unchanged.missing, unchanged.tokens, unchanged.sampled) == (6, 0, 0, 0)
    (pages / "new.html").write_text("<html><body><p>A lamp burns oil through the long night.</p></body></html>")
    one_more = forecast(home)
    assert (one_more.documents, one_more.missing, one_more.sampled) == (7, 1, 1)
    assert count_documents(SourceFolder(home.sources, "docs"), Settings(home)) == (7, 1)


@pytest.mark.full
def test_a_sample_of_pages_of_very_different_size_is_near(
    home: Home, kbjobs: Kbjobs, openai_api: OpenAIServer, python_docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(home, "docs", [python_docs])
    exact = count_exactly(kbjobs)
    monkeypatch.setattr(source_diff, "SAMPLE", 60)
    found = forecast(home)
    assert not found.is_exact and found.sampled <= 62
    assert abs(found.tokens / exact["tokens"] - 1) < 0.08
    assert abs(found.passages / exact["chunks"] - 1) < 0.08
    assert found == forecast(home)


def test_a_sample_of_an_archive_is_near(
    home: Home, kbjobs: Kbjobs, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = next(real_input(ZIMS, "the openZIM testing suite").glob("wikibooks_be*.zim"))
    register(home, "docs", [archive])
    exact = count_exactly(kbjobs)
    monkeypatch.setattr(source_diff, "SAMPLE", 60)  # of some 200 entries
    found = forecast(home)
    assert not found.is_exact
    assert abs(found.tokens / exact["tokens"] - 1) < 0.35, (found, exact["tokens"])
