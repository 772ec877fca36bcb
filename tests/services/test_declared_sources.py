"""``sources apply``: what a file declares is made so, once; what is wrong in it changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import stop_daemon
from kbjobs.services import declared_sources
from kbjobs.store.locks import lock_source
from kbjobs.store.sources import SourceFolder, list_source_ids
from tests.conftest import Kbjobs, read_json, wait_until, write_pages

FILE = """\
[wiki]
paths = ["pages"]
name = "Our wiki"
license = "CC-BY-SA-4.0"
chain = "reindex-offline"
language_filter = "EN, de"

[guide]
url = "https://guide.example.org"
scrape = { page_limit = 1000, exclude = "*?action=*" }
chain = "./nightly.toml"
"""
CHAIN = """\
name = "nightly"

[[phase]]
job = "metadata"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_pages(tmp_path / "pages", 2)
    (tmp_path / "nightly.toml").write_text(CHAIN)
    path = tmp_path / "sources.toml"
    path.write_text(FILE)
    return path


def manifest(home: Home, source: str) -> dict[str, Any]:
    return dict(json.loads(SourceFolder(home.sources, source).manifest.read_text()))


def actions(kbjobs: Kbjobs, file: Path, *options: str) -> dict[str, str]:
    return {one["source"]: one["action"] for one in read_json(kbjobs("sources", "apply", file, "--json", *options))}


def test_what_is_declared_is_made_once(home: Home, file: Path, kbjobs: Kbjobs) -> None:
    assert actions(kbjobs, file, "--dry-run") == {"wiki": "add", "guide": "add"}
    assert not list_source_ids(home.sources)
    ended = kbjobs("sources", "apply", file)
    assert "Source wiki: added" in ended.stderr and "Source guide: added" in ended.stderr
    wiki, guide = SourceFolder(home.sources, "wiki").read(), SourceFolder(home.sources, "guide")
    assert wiki.paths == (str(file.parent / "pages"),)
    assert (wiki.name, wiki.license, wiki.chain) == ("Our wiki", "CC-BY-SA-4.0", "reindex-offline")
    assert wiki.language_filter == "en,de" and wiki.declared_in == str(file)
    assert guide.read().chain == str(file.parent / "nightly.toml")
    assert guide.read().base_url == "https://guide.example.org/"
    assert guide.read_scrape() == {
        "url": "https://guide.example.org/", "page_limit": 1000, "exclude": "*?action=*",
    }  # fmt: skip
    before = [manifest(home, source) for source in ("wiki", "guide")]
    assert actions(kbjobs, file) == {"wiki": "keep", "guide": "keep"}
    assert [manifest(home, source) for source in ("wiki", "guide")] == before


def test_only_what_differs_is_changed(home: Home, file: Path, kbjobs: Kbjobs) -> None:
    kbjobs("sources", "apply", file)
    folder = SourceFolder(home.sources, "guide")
    folder.write_scrape({**folder.read_scrape(), "max_depth": 7})
    write_pages(file.parent / "more", 1)
    text = FILE.replace('["pages"]', '["pages", "more"]').replace('license = "CC-BY-SA-4.0"', 'license = ""')
    file.write_text(text.replace("1000", "50").replace('chain = "reindex-offline"\n', ""))
    (changed, scraped) = read_json(kbjobs("sources", "apply", file, "--json", "--dry-run"))
    assert changed["fields"] == ["license", "paths"] and scraped["fields"] == ["scrape.page_limit"]
    ended = kbjobs("sources", "apply", file)
    assert "Source wiki: changed (license, paths)" in ended.stderr
    wiki = SourceFolder(home.sources, "wiki").read()
    assert wiki.license == "" and len(wiki.paths) == 2
    assert wiki.chain == "reindex-offline"  # left out of the file, it stays
    assert folder.read_scrape()["page_limit"] == 50 and folder.read_scrape()["max_depth"] == 7
    assert actions(kbjobs, file) == {"wiki": "keep", "guide": "keep"}


def test_nothing_is_deleted_unasked(home: Home, file: Path, kbjobs: Kbjobs, tmp_path: Path) -> None:
    kbjobs("sources", "apply", file)
    kbjobs("sources", "add", "own", write_pages(tmp_path / "own", 1))
    file.write_text(FILE[: FILE.index("[guide]")])
    ended = kbjobs("sources", "apply", file)
    assert "Source guide: no longer declared; --prune deletes it" in ended.stderr
    assert list_source_ids(home.sources) == ["guide", "own", "wiki"]
    assert "would be deleted" in kbjobs("sources", "apply", file, "--prune", "--dry-run").stderr
    assert "If you are sure, give --yes" in kbjobs("sources", "apply", file, "--prune", check=2).stderr
    assert list_source_ids(home.sources) == ["guide", "own", "wiki"]
    kbjobs("sources", "apply", file, "--prune", "--yes")
    assert wait_until(lambda: list_source_ids(home.sources) == ["own", "wiki"])
    stop_daemon(home, now=True, seconds=20)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('paths = ["pages"]', 'paths = ["nowhere"]', "there is no"),
        ('paths = ["pages"]', "paths = []", "paths is empty"),
        ('paths = ["pages"]', "paths = 3", "paths: Input should be a valid list"),
        ('paths = ["pages"]', "", "neither paths nor a url"),
        ('paths = ["pages"]', 'paths = ["pages"]\nurl = "https://e.org/"', "paths and a url"),
        (
            'paths = ["pages"]',
            'paths = ["pages"]\nscrape = { page_limit = 1 }',
            "scrape is for a source that has a url",
        ),
        ("[wiki]", "[Wiki]", "not a valid source id"),
        ("[wiki]", '["../wiki"]', "not a valid source id"),
        ("name =", "nmae =", "nmae: Extra inputs are not permitted"),
        ("page_limit", "pages_limit", "pages_limit"),
        ("1000", '"many"', "page_limit"),
        ('"https://guide.example.org"', '"file:///etc/passwd"', "not the address of a page"),
        ('"reindex-offline"', '"no-such-chain"', "no-such-chain"),
        ('"./nightly.toml"', '"./nothing.toml"', "nothing.toml"),
        ('"EN, de"', '"qqq"', "not a language code"),
        ("[guide]", "[guide", "is not valid TOML"),
        ("[guide]", "[wiki]", "is not valid TOML"),
        ("[wiki]\n", "wiki = 3\n[other]\n", "Input should be"),
        ("", "a = " + "[" * 50_000, "is not valid TOML"),
        ("", "#" * (1 << 20), "larger than 1 MB"),
    ],
)
def test_a_mistake_changes_nothing(home: Home, file: Path, kbjobs: Kbjobs, old: str, new: str, reason: str) -> None:
    file.write_text(FILE.replace(old, new, 1) if old else new + "\n" + FILE)
    ended = kbjobs("sources", "apply", file, check=None)
    assert ended.returncode in (2, 4) and reason in ended.stderr and str(file) in ended.stderr, ended.stderr
    assert "Traceback" not in ended.stderr and not list_source_ids(home.sources)


def test_a_file_that_cannot_be_read(tmp_path: Path, kbjobs: Kbjobs) -> None:
    (tmp_path / "latin").write_bytes(b"[wiki]\nname = '\xe9'\n")
    assert "is not valid TOML" in kbjobs("sources", "apply", tmp_path / "latin", check=2).stderr
    assert "cannot read" in kbjobs("sources", "apply", tmp_path / "nothing", check=7).stderr
    assert "cannot read" in kbjobs("sources", "apply", tmp_path, check=7).stderr


def test_a_source_at_work_is_named_and_the_others_are_changed(
    home: Home, file: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    kbjobs("sources", "apply", file)
    monkeypatch.setattr(declared_sources, "LOCK_SECONDS", 0.1)
    file.write_text(FILE.replace("Our wiki", "The wiki").replace("1000", "10"))
    lock = lock_source(SourceFolder(home.sources, "wiki").lock, "wiki", 1)
    try:
        ended = kbjobs("sources", "apply", file, check=5)
    finally:
        lock.release()
    assert "wiki" in ended.stderr and "Source guide: changed (scrape.page_limit)" in ended.stderr
    assert actions(kbjobs, file) == {"wiki": "change", "guide": "keep"}
    assert SourceFolder(home.sources, "wiki").read().name == "The wiki"
