"""A kill at any moment of a scrape costs the fetches in flight; in the end all is as if nothing had happened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import stop_daemon
from kbjobs.scraping.crawl import AT_ONCE, AT_ONCE_OF_WIKI
from kbjobs.services.documents import documents
from kbjobs.services.jobs import JobManager
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, rest_full
from tests.faults.test_crash_points import finish
from tests.faults.test_kills import calm, kill_randomly, run_to_end
from tests.scraping.mediawiki.test_wiki import pages, parsed
from tests.scraping.test_scrape import files_of, page, tree
from tests.servers.site_server import Page, SiteServer
from tests.servers.wiki_server import WikiServer

__all__ = ["calm"]
POINTS = ("scrape.sitemap", "scrape.saved", "scrape.committed", "scrape.removed", "scrape.linked")
WISHES: dict[str, Any] = {"request_delay": 0.0, "max_depth": 20, "page_limit": 1_000}

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("point", rest_full(POINTS, "scrape.saved", "scrape.removed"))
def test_a_kill_at_each_point(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    manager = JobManager(home)
    with SiteServer(tree(40)) as server:
        first = manager.submit("scrape", "site", url=server.url, **WISHES)
        assert finish(manager, first).exit_code == 0
        server.pages["/p/1"] = page("Changed", "/p/3", "/p/4", "/new", etag='"new"')
        server.pages["/new"] = page("New")
        del server.pages["/p/39"]
        stop_daemon(home, now=True, seconds=20)
        marker = tmp_path / "killed"
        monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
        job = finish(manager, manager.submit("scrape", "site"))
        assert marker.exists(), "the point was never reached"
        assert (job.status, job.exit_code) == (Status.COMPLETED, 0), job
        names = set(files_of(home))
        assert len(names) == 40 and "new.html" in names and "p/39.html" not in names
        assert b"../new.html" in files_of(home)["p/1.html"]


@pytest.mark.real
@pytest.mark.parametrize(
    "point",
    rest_full(
        ["scrape.wiki_change", "scrape.wiki_list", "scrape.saved", "scrape.committed", "scrape.removed"],
        "scrape.wiki_change",
    ),
)
def test_a_kill_at_each_point_of_a_wiki(
    home: Home, tmp_path: Path, mediawiki: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    manager = JobManager(home)
    marker = tmp_path / "killed"
    with WikiServer(tmp_path / "wiki", mediawiki, pages(11)) as wiki:
        if point == "scrape.wiki_list":
            monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
        assert finish(manager, manager.submit("scrape", "site", url=wiki.url, **WISHES)).exit_code == 0
        wiki.write({"Knot 3": "Another text.", "Splice": "A splice."})
        wiki.delete("Knot 4")
        wiki.move("Knot 5", "Bowline")
        wiki.forget_requests()
        if point != "scrape.wiki_list":
            stop_daemon(home, now=True, seconds=20)
            monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
        job = finish(manager, manager.submit("scrape", "site"))
        assert marker.exists(), "the point was never reached"
        assert (job.status, job.exit_code) == (Status.COMPLETED, 0), job
        names = {f"Knot_{number}.html" for number in range(11) if number not in (4, 5)}
        assert set(files_of(home)) == names | {"Main_Page.html", "Splice.html", "Bowline.html"}
        assert b"Another text" in files_of(home)["Knot_3.html"]
        assert parsed(wiki) <= 3 + AT_ONCE_OF_WIKI


@pytest.mark.full
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(60, 60 + FACTOR))
def test_random_kills_change_nothing(home: Home, calm: Home, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1000")
    kills = 5
    pages = {path: Page(one.body, etag=one.etag, delay=0.1) for path, one in tree(500).items()}
    with SiteServer(pages) as server:
        manager = JobManager(home)
        kill_randomly(home, manager, manager.submit("scrape", "site", url=server.url, **WISHES), seed, kills)
        stop_daemon(home, now=True, seconds=20)
        asked = [path for path in server.paths() if path != "/robots.txt"]
        assert len(asked) - len(set(asked)) <= AT_ONCE * kills
        run_to_end(calm, monkeypatch, "scrape", "site", url=server.url, **WISHES)
        assert files_of(home) == files_of(calm)
        assert len(files_of(home)) == 500
    monkeypatch.setenv("KBJOBS_HOME", os.fspath(home.path))
    for place in (home, calm):
        run_to_end(place, monkeypatch, "metadata", "site")
    assert list(documents(home, "site")) == list(documents(calm, "site"))
