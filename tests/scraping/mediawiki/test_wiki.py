"""A real MediaWiki becomes a source through its API, and is brought up to date by its revisions and its log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.scraping.mediawiki import wiki_api, wiki_listing
from kbjobs.services.documents import documents
from kbjobs.store.frontier import Frontier
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs
from tests.phases.test_metadata import describe_pages
from tests.scraping.test_scrape import files_of, scrape_site
from tests.servers.wiki_server import WikiServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def pages(count: int) -> dict[str, str]:
    return {
        f"Knot {number}": f"A '''knot''' of {number} turns, see [[Knot {number + 1}]] and [[Nowhere]].\n"
        f"== Use ==\nIt holds.\n[[Category:Knots]][[Category:Rope work]]"
        for number in range(count)
    }


@pytest.fixture
def wiki(tmp_path: Path, mediawiki: Path) -> Iterator[WikiServer]:
    """A wiki of twelve pages with its main page; a test may write more."""
    with WikiServer(tmp_path / "wiki", mediawiki, pages(11)) as server:
        server.forget_requests()
        yield server


def parsed(wiki: WikiServer) -> int:
    """How many pages the wiki was asked for."""
    return sum("action=parse" in request for request in wiki.requests())


def titles(home: Home) -> set[str]:
    return {str(one["title"]) for one in documents(home, "site")}


def test_a_wiki_becomes_a_source(home: Home, wiki: WikiServer) -> None:
    wiki.write({"Rope/Hemp & “Co”": "Hemp, a [[Knot 1|knot]].", "Old": "#REDIRECT [[Knot 2]]"})
    wiki.forget_requests()
    counts = scrape_site(home, wiki.url).counts
    assert (counts["pages"], counts["saved"], counts["failed"]) == (13, 13, 0)
    asked = wiki.requests()
    assert parsed(wiki) == 13
    # robots.txt, the start with its redirect to the main page; all else is asked of the API, politely
    assert [path for path in asked if "api.php" not in path] == ["/robots.txt", "/", "/index.php/Main_Page"]
    assert all("maxlag=5" in path for path in asked if "api.php" in path)
    files = files_of(home)
    assert {"Knot_1.html", "Main_Page.html", "Rope/Hemp_&_“Co”.html"} <= files.keys()
    knot = files["Knot_1.html"].decode()
    assert '<a href="Knot_2.html" title="Knot 2">' in knot  # reads offline
    assert "[edit" not in knot and "Powered by" not in knot and "<nav" not in knot
    assert '<a href="../Knot_1.html"' in files["Rope/Hemp_&_“Co”.html"].decode()

    manifest = SourceFolder(home.sources, "site").read()
    assert (manifest.name, manifest.license) == ("Test Wiki", "CC BY-SA 4.0")
    describe_pages(home, "site")
    found = {str(one["title"]): one for one in documents(home, "site")}
    assert len(found) == 13 and "Rope/Hemp & “Co”" in found
    assert found["Knot 1"]["url"] == f"{wiki.url}/index.php/Knot_1"
    assert found["Knot 1"]["language"] == "en"
    assert found["Knot 1"]["categories"] == ["Knots", "Rope work"]


@pytest.mark.full
def test_what_the_user_wrote_stays(home: Home, wiki: WikiServer) -> None:
    scrape_site(home, wiki.url, page_limit=1)
    folder = SourceFolder(home.sources, "site")
    values = json.loads(folder.manifest.read_text())
    folder.manifest.write_text(json.dumps({**values, "name": "My knots", "license": "mine"}))
    scrape_site(home)
    assert (folder.read().name, folder.read().license) == ("My knots", "mine")


def test_again_costs_what_has_changed(home: Home, wiki: WikiServer) -> None:
    scrape_site(home, wiki.url)
    before = {path: path.stat().st_mtime_ns for path in SourceFolder(home.sources, "site").pages.rglob("*.html")}
    wiki.forget_requests()
    counts = scrape_site(home).counts
    assert (counts["pages"], counts["saved"], counts["unchanged"]) == (12, 0, 12)
    assert parsed(wiki) == 0 and len(wiki.requests()) <= 5
    assert {path: path.stat().st_mtime_ns for path in before} == before

    wiki.write({"Knot 3": "Another text.", "Splice": "A splice."})
    wiki.delete("Knot 4")
    wiki.move("Knot 5", "Bowline")
    wiki.move("Knot 6", "Sheet bend", leaves_redirect=False)
    wiki.forget_requests()
    counts = scrape_site(home).counts
    assert (counts["saved"], counts["unchanged"], counts["removed"], counts["failed"]) == (4, 8, 3, 0)
    assert parsed(wiki) == 4  # Knot 3, Splice, Bowline, Sheet bend
    assert not any("generator=allpages" in path for path in wiki.requests())
    describe_pages(home, "site")
    assert titles(home) == {
        "Main Page", "Knot 0", "Knot 1", "Knot 2", "Knot 3", "Knot 7", "Knot 8", "Knot 9", "Knot 10", "Splice",
        "Bowline", "Sheet bend",
    }  # fmt: skip
    assert b"Another text" in files_of(home)["Knot_3.html"]

    # A title that is given to another page, and one that comes back.
    wiki.delete("Knot 7")
    wiki.move("Splice", "Knot 7", leaves_redirect=False)
    wiki.write({"Knot 4": "Knot four is back."})
    counts = scrape_site(home).counts
    assert (counts["saved"], counts["removed"]) == (2, 1)
    assert b"A splice" in files_of(home)["Knot_7.html"] and b"is back" in files_of(home)["Knot_4.html"]


@pytest.mark.full
def test_changes_that_were_forgotten_are_found_in_the_list(home: Home, wiki: WikiServer) -> None:
    scrape_site(home, wiki.url)
    wiki.write({"Knot 3": "Another text."})
    wiki.delete("Knot 4")
    wiki.move("Knot 5", "Bowline")
    wiki.maintain("sql", "--query", "DELETE FROM recentchanges")
    wiki.forget_requests()
    counts = scrape_site(home).counts
    assert any("generator=allpages" in path for path in wiki.requests())
    assert (counts["saved"], counts["unchanged"], counts["removed"]) == (2, 9, 2)
    assert parsed(wiki) == 2
    assert {"Bowline.html"} == files_of(home).keys() - {"Main_Page.html", *(f"Knot_{n}.html" for n in range(11))}
    wiki.forget_requests()
    scrape_site(home)
    assert parsed(wiki) == 0


@pytest.mark.full
def test_the_list_is_continued(home: Home, wiki: WikiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wiki gives its pages in batches, and of a batch some properties later."""
    ask = wiki_api.WikiApi.ask
    batches = []

    async def ask_for_few(self: wiki_api.WikiApi, **parameters: Any) -> dict[str, Any]:
        for name in ("gaplimit", "rclimit"):
            if parameters.get(name) == "max":
                parameters[name] = 2
                batches.append(name)
        return await ask(self, **parameters)

    monkeypatch.setattr(wiki_api.WikiApi, "ask", ask_for_few)
    monkeypatch.setattr(wiki_listing, "_TITLES_AT_ONCE", 2)
    assert scrape_site(home, wiki.url).counts["pages"] == 12
    assert batches.count("gaplimit") >= 6
    wiki.write({f"Knot {number}": "New." for number in range(5)})
    assert scrape_site(home).counts["saved"] == 5
    assert batches.count("rclimit") > 1


@pytest.mark.full
def test_the_page_limit_counts_the_pages_that_may_be_had(home: Home, wiki: WikiServer) -> None:
    (wiki.root / "robots.txt").write_text(
        "User-agent: *\n" + "".join(f"Disallow: /index.php/Knot_{number}$\n" for number in range(4))
    )
    counts = scrape_site(home, wiki.url, page_limit=5).counts
    assert counts["pages"] == 5 and counts["skipped_for"].keys() <= {"robots.txt forbids it"}
    assert not {f"Knot_{number}.html" for number in range(4)} & files_of(home).keys()
    counts = scrape_site(home, page_limit=100).counts
    assert counts["pages"] == 8


@pytest.mark.full
def test_what_was_listed_before_is_not_taken_for_gone(
    home: Home, wiki: WikiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is read on from where it was: what stands before that is not in what comes now."""
    ask = wiki_api.WikiApi.ask

    async def ask_for_few(self: wiki_api.WikiApi, **parameters: Any) -> dict[str, Any]:
        return await ask(self, **parameters | ({"gaplimit": 4} if "gaplimit" in parameters else {}))

    monkeypatch.setattr(wiki_api.WikiApi, "ask", ask_for_few)
    monkeypatch.setattr(
        wiki_listing, "OVERLAP", -timedelta(seconds=30)
    )  # that the pages are new is not looked at again
    assert scrape_site(home, wiki.url, page_limit=2).counts["pages"] == 2
    counts = scrape_site(home, page_limit=100).counts
    assert (counts["pages"], counts["saved"], counts["unchanged"]) == (12, 10, 2)
    assert scrape_site(home).counts["unchanged"] == 12


@pytest.mark.full
def test_patterns(home: Home, wiki: WikiServer) -> None:
    assert scrape_site(home, wiki.url, include="*/Knot_1*").counts["pages"] == 2
    assert scrape_site(home, wiki.url, "other", exclude="*/Knot_*").counts["pages"] == 1
    # A pattern that comes later: what it leaves out goes from the copy.
    assert scrape_site(home, wiki.url, "third").counts["pages"] == 12
    counts = scrape_site(home, source="third", exclude="*/Knot_1*").counts
    assert (counts["pages"], counts["removed"]) == (10, 2)


@pytest.mark.full
def test_a_wiki_that_lags_is_left_alone(home: Home, wiki: WikiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite lags by minus one second: what may lag by minus two is refused, with JSON, a status of 200 and a wait."""
    slowed: list[str] = []
    slow_down = wiki_api.WikiApi.ask

    async def ask(self: wiki_api.WikiApi, **parameters: Any) -> dict[str, Any]:
        monkeypatch.setattr(wiki_api, "MAX_LAG", -2 if len(slowed) < 2 else 5)
        try:
            return await slow_down(self, **parameters)
        except wiki_api.WikiError as error:
            slowed.append(error.code)
            raise

    monkeypatch.setattr(wiki_api, "FIRST_WAIT", 0.01)
    monkeypatch.setattr("kbjobs.net.backoff.MAX_REST", 0.2)
    monkeypatch.setattr(wiki_api.WikiApi, "ask", ask)
    counts = scrape_site(home, wiki.url).counts
    assert slowed == ["maxlag", "maxlag"]
    assert (counts["pages"], counts["failed"]) == (12, 0)


@pytest.mark.full
def test_a_page_that_lags_is_asked_for_again(home: Home, wiki: WikiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = wiki_api.WikiApi.ask
    refused: list[int] = []

    async def ask(self: wiki_api.WikiApi, **parameters: Any) -> dict[str, Any]:
        if parameters["action"] == "parse" and len(refused) < 3:
            refused.append(1)
            parameters["maxlag"] = -2
        return await parse(self, **parameters)

    monkeypatch.setattr("kbjobs.net.backoff.MAX_REST", 0.2)
    monkeypatch.setattr("kbjobs.scraping.crawl.FIRST_WAIT", 0.01)
    monkeypatch.setattr(wiki_api.WikiApi, "ask", ask)
    assert scrape_site(home, wiki.url).counts["pages"] == 12
    assert len(refused) == 3


def test_a_private_wiki(home: Home, wiki: WikiServer) -> None:
    wiki.configure('$wgGroupPermissions["*"]["read"] = false;\n')
    with pytest.raises(KbjobsError, match=r"only its users may read the wiki of .*\(readapidenied\)"):
        scrape_site(home, wiki.url)


@pytest.mark.full
def test_a_page_that_vanishes_after_it_was_listed(
    home: Home, wiki: WikiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend = wiki_listing.PageList.extend

    async def extend_then_delete(self: wiki_listing.PageList, count: int) -> None:
        await extend(self, count)
        if not (wiki.folder / "gone").exists():
            wiki.delete("Knot 2")
            (wiki.folder / "gone").touch()

    monkeypatch.setattr(wiki_listing.PageList, "extend", extend_then_delete)
    counts = scrape_site(home, wiki.url).counts
    assert (counts["pages"], counts["failed"]) == (11, 0)
    assert "Knot_2.html" not in files_of(home)


def test_a_wiki_without_api_is_read_as_any_site(home: Home, wiki: WikiServer) -> None:
    (wiki.root / "api.php").unlink()
    counts = scrape_site(home, f"{wiki.url}/index.php/Knot_1", max_depth=0).counts
    assert counts["pages"] == 1
    assert parsed(wiki) == 0
    assert b"Powered by" in next(iter(files_of(home).values())) or b"vector" in next(iter(files_of(home).values()))


@pytest.mark.full
def test_no_wiki_is_wished(home: Home, wiki: WikiServer) -> None:
    assert scrape_site(home, f"{wiki.url}/index.php/Knot_1", max_depth=0, wiki=False).counts["pages"] == 1
    assert not any("maxlag" in path for path in wiki.requests())  # each question of ours has it


@pytest.mark.full
def test_a_wiki_that_calls_itself_otherwise(home: Home, wiki: WikiServer) -> None:
    wiki.configure('$wgServer = "https://wiki.example.org";\n')
    with pytest.raises(KbjobsError, match=r"wiki\.example\.org, which is another site") as error:
        scrape_site(home, f"{wiki.url}/index.php/Knot_1")
    assert "--url https://wiki.example.org/" in error.value.hint


@pytest.mark.full
def test_a_page_whose_file_was_taken_away_is_fetched_again(home: Home, wiki: WikiServer) -> None:
    scrape_site(home, wiki.url)
    (SourceFolder(home.sources, "site").pages / "Knot_1.html").unlink()
    wiki.forget_requests()
    scrape_site(home)
    assert parsed(wiki) == 1 and "Knot_1.html" in files_of(home)


@pytest.mark.full
def test_pictures(home: Home, wiki: WikiServer) -> None:
    (wiki.root / "images" / "knot.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 50)
    wiki.configure("$wgRawHtml = true;\n")
    wiki.write({"Shown": '<html><img src="/images/knot.png"></html> A knot.'})
    counts = scrape_site(home, wiki.url, include_assets=True).counts
    assert counts["assets"] == 1
    assert b'src="images/knot.png"' in files_of(home)["Shown.html"]


@pytest.mark.full
def test_the_command_tells_of_a_wiki(home: Home, kbjobs: Kbjobs, wiki: WikiServer) -> None:
    dry = kbjobs("run", "scrape", "site", "--url", wiki.url, "--dry-run")
    output = dry.stderr + dry.stdout
    assert re.search(
        r"a MediaWiki, Test Wiki \(CC BY-SA 4\.0\), with 12 pages; at most 100 pages, one each 0\.5 s", output
    )
    few = kbjobs("run", "scrape", "site", "--url", wiki.url, "--dry-run", "--page-limit", "5")
    assert "with 5 pages or more; at most 5 pages" in few.stderr + few.stdout
    assert not SourceFolder(home.sources, "site").manifest.exists()
    run = kbjobs("run", "scrape", "site", "--url", wiki.url, "--request-delay", "0", "--progress", "plain")
    assert "12 pages: 12 saved, 0 unchanged" in run.stdout + run.stderr
    with_limit = kbjobs("run", "scrape", "site", "--progress", "plain")
    assert "12 pages: 0 saved, 12 unchanged" in with_limit.stdout + with_limit.stderr
    frontier = Frontier(SourceFolder(home.sources, "site").frontier)
    assert not frontier.is_open
    frontier.close()
