"""``kbjobs chain --dry-run``: what a chain would do is told, and nothing is queued."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ExitCode
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from tests.conftest import MODEL, Kbjobs, read_json, write_pages
from tests.servers.openai_server import OpenAIServer

FIELDS = {"name", "job", "weight", "documents", "passages", "new", "tokens", "price_usd", "minutes", "exact", "note"}
pytestmark = pytest.mark.usefixtures("minilm")


@pytest.fixture
def wiki(home: Home, tmp_path: Path) -> str:
    pages = write_pages(tmp_path / "pages", 5)
    for page in pages.iterdir():
        os.utime(page, (1e9, 1e9))  # one that was changed just now is read again
    register(home, "wiki", [pages])
    return "wiki"


def test_each_phase_tells_what_it_would_do(home: Home, kbjobs: Kbjobs, wiki: str, openai_api: OpenAIServer) -> None:
    (found,) = read_json(kbjobs("chain", "generate-source", "--source", wiki, "--dry-run", "--json"))
    metadata, online, offline, tags = found["phases"]
    assert set(metadata) == FIELDS
    assert (metadata["documents"], metadata["note"]) == (5, "5 to read")
    assert (online["documents"], online["passages"], online["new"], online["exact"]) == (5, 5, 5, True)
    assert online["tokens"] > 0 and 0 < online["price_usd"] < 0.001
    assert offline["new"] == 5 and offline["price_usd"] is None
    assert tags["price_usd"] > 0 and not tags["exact"] and tags["note"].startswith("at most")
    assert found["price_usd"] == pytest.approx(online["price_usd"] + tags["price_usd"])
    assert found["refused"] is None and "metadata" in found["untimed"]
    assert JobManager(home).get_active_jobs() == [] and not openai_api.requests
    assert not home.state_file.exists()


def test_after_a_run_the_time_is_that_of_its_pace_and_nothing_is_new(home: Home, kbjobs: Kbjobs, wiki: str) -> None:
    kbjobs("run", "generate-offline", wiki)
    (found,) = read_json(kbjobs("chain", "generate-offline", "--source", wiki, "--dry-run", "--json"))
    _, offline, tags = found["phases"]
    assert (offline["new"], offline["tokens"], offline["minutes"]) == (0, 0, 0.0)
    assert tags["minutes"] is not None and found["untimed"] == []
    forced = home.path.parent / "again.toml"
    forced.write_text('[[phase]]\njob = "index_offline"\nparams = { force = true }\n')
    (again,) = read_json(kbjobs("chain", forced, "--source", wiki, "--dry-run", "--json"))
    assert again["phases"][0]["new"] == 5 and again["phases"][0]["minutes"] is not None


def test_vectors_that_are_purged_before_are_embedded_again(kbjobs: Kbjobs, wiki: str, tmp_path: Path) -> None:
    kbjobs("run", "index-offline", wiki)
    path = tmp_path / "anew.toml"
    for params, new in (("{}", 0), ("{ purge = true }", 5)):
        path.write_text(f'[[phase]]\njob = "clear_vectors"\nparams = {params}\n[[phase]]\njob = "index_offline"\n')
        (found,) = read_json(kbjobs("chain", path, "--source", wiki, "--dry-run", "--json"))
        assert found["phases"][1]["new"] == new


def test_without_a_key_it_tells_the_price_and_both_ways_out(kbjobs: Kbjobs, wiki: str) -> None:
    ended = kbjobs("run", "generate-source", wiki, "--dry-run", check=ExitCode.MISSING_REQUIREMENT)
    assert "nothing was queued; at most about 0.0" in ended.stderr
    assert "A submit would be refused now: phase index_online: index-online needs OPENAI_API_KEY" in ended.stderr
    assert "kbjobs config set-secret OPENAI_API_KEY. Or do without it: kbjobs run generate-offline wiki" in ended.stderr
    refused = kbjobs("run", "generate-source", wiki, "--detach", check=ExitCode.MISSING_REQUIREMENT)
    assert "Or do without it: kbjobs run generate-offline wiki" in refused.stderr
    (found,) = read_json(kbjobs("chain", "generate-source", "--source", wiki, "--dry-run", "--json", check=6))
    assert found["refused"]["exit_code"] == 6 and found["phases"][1]["price_usd"] > 0


def test_of_a_source_that_is_still_to_be_scraped_only_its_bounds_are_known(kbjobs: Kbjobs, tmp_path: Path) -> None:
    path = tmp_path / "overnight.toml"
    path.write_text(
        '[[phase]]\njob = "scrape"\n'
        'params = { url = "http://127.0.0.1:9/", page_limit = 120, request_delay = 1.0 }\n'
        f'[[phase]]\njob = "index_offline"\nparams = {{ model = "{MODEL}" }}\n'
    )
    (found,) = read_json(kbjobs("chain", path, "--source", "guide", "--dry-run", "--json"))
    scrape, index = found["phases"]
    assert (scrape["documents"], scrape["minutes"], scrape["exact"]) == (120, 2.0, False)
    assert (index["documents"], index["minutes"]) == (None, None) and "scrape brings" in index["note"]
    shown = kbjobs("chain", path, "--source", "guide", "--dry-run")
    assert shown.stdout.splitlines()[0].startswith("scrape\t~120\t—")
    assert "about 2m 00s, without index_offline, never run here" in shown.stderr


def test_several_sources_are_told_one_after_the_other(home: Home, kbjobs: Kbjobs, wiki: str, tmp_path: Path) -> None:
    register(home, "manuals", [write_pages(tmp_path / "others", 2)])
    arguments = ("chain", "generate-offline", "--source", wiki, "--source", "manuals", "--dry-run")
    found = read_json(kbjobs(*arguments, "--json"))
    assert [(one["source"], one["phases"][0]["documents"]) for one in found] == [("wiki", 5), ("manuals", 2)]
    assert "Dry run of generate-offline on manuals: nothing was queued" in kbjobs(*arguments).stderr
    kbjobs("chain", "generate-offline", "--source", "nowhere", "--dry-run", check=ExitCode.NOT_FOUND)
