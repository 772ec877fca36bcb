"""A source's own chain and filter: where they come from, and what jobs do with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs, read_json, write_pages


@pytest.fixture
def manual(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> SourceFolder:
    """A source that was scraped."""
    kbjobs("sources", "add", "manual", "--url", "https://m.example.org/", "--license", "CC0-1.0",
           "--chain", "reindex-offline", "--language-filter", "en,fr")  # fmt: skip
    folder = SourceFolder(home.sources, "manual")
    folder.write_scrape({**folder.read_scrape(), "page_limit": 7, "sitemap": "https://m.example.org/map.xml"})
    return folder


def test_a_source_like_another(home: Home, manual: SourceFolder, tmp_path: Path, kbjobs: Kbjobs) -> None:
    ended = kbjobs("sources", "add", "guide", "--url", "https://g.example.org", "--like", "manual", "--license", "MIT")
    assert "Next: kbjobs chain reindex-offline --source guide" in ended.stderr
    guide = SourceFolder(home.sources, "guide")
    assert guide.read_scrape() == {"url": "https://g.example.org/", "page_limit": 7}
    source = guide.read()
    assert (source.license, source.chain, source.language_filter) == ("MIT", "reindex-offline", "en,fr")
    assert source.base_url == "https://g.example.org/" and source.name == ""
    kbjobs("sources", "add", "files", write_pages(tmp_path / "pages", 1), "--like", "guide")
    files = SourceFolder(home.sources, "files")
    assert files.read().chain == "reindex-offline" and files.read_scrape() == {} and files.read().base_url == ""
    shown = kbjobs("sources", "show", "files").stdout
    assert "reindex-offline" in shown and "en,fr" in shown


def test_what_cannot_be_added(kbjobs: Kbjobs, tmp_path: Path, home: Home) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    for options, code, reason in (
        (("--like", "nobody", pages), 4, "there is no source 'nobody'"),
        ((), 2, "neither paths nor --url"),
        ((pages, "--url", "https://e.org/"), 2, "both given"),
        (("--url", "https://e.org/", "--copy"), 2, "--copy is for paths"),
        (("--url", "ftp://e.org/"), 2, "not the address of a page"),
        ((pages, "--chain", "nothing"), 4, "nothing"),
        ((pages, "--language-filter", "xx-yy-zz"), 2, "not a language code"),
    ):
        ended = kbjobs("sources", "add", "guide", *options, check=code)
        assert reason in ended.stderr and "Traceback" not in ended.stderr
    assert not list(home.sources.glob("*/manifest.json"))


def test_chain_and_filter_are_edited_and_cleared(home: Home, manual: SourceFolder, kbjobs: Kbjobs) -> None:
    kbjobs("sources", "edit", "manual", "--chain", "", "--language-filter", "")
    values = json.loads(manual.manifest.read_text())
    assert "chain" not in values and "language_filter" not in values and values["scrape"]["page_limit"] == 7
    assert "no source has a chain of its own" in kbjobs("chain", "--all-sources", check=4).stderr


def test_jobs_use_the_filter_of_their_source(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    kbjobs("sources", "add", "wiki", write_pages(tmp_path / "pages", 2), "--language-filter", "en")
    manager = JobManager(home)
    chain = manager.find_chain("metadata", {})
    assert manager.plan(chain, "wiki").job.params["language_filter"] == "en"
    chain = manager.find_chain("metadata", {"language_filter": "de"})
    assert manager.plan(chain, "wiki").job.params["language_filter"] == "de"


def test_each_source_runs_its_own_chain(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    pages = write_pages(tmp_path / "pages", 2)
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(f'name = "night_{name}"\n\n[[phase]]\njob = "metadata"\n')
    for source, chain in (("a", "one"), ("b", "two"), ("c", "one"), ("d", None)):
        kbjobs("sources", "add", source, pages, *(() if chain is None else ("--chain", tmp_path / f"{chain}.toml")))
    forecasts = read_json(kbjobs("chain", "--all-sources", "--dry-run", "--json"))
    assert [(one["chain"], one["source"]) for one in forecasts] == [
        ("night_one", "a"), ("night_two", "b"), ("night_one", "c"),
    ]  # fmt: skip
    (tmp_path / "two.toml").unlink()
    ended = kbjobs("chain", "--all-sources", check=3)
    assert "two.toml" in ended.stderr and "b" in ended.stderr
    jobs = read_json(kbjobs("history", "--json"))
    assert sorted((job["type"], job["source"]) for job in jobs) == [("night_one", "a"), ("night_one", "c")]
    assert "no chain is named" in kbjobs("chain", check=2).stderr
    assert "no chain is named" in kbjobs("chain", "--source", "a", check=2).stderr
