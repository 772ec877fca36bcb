"""A site becomes a source: what is fetched, under which name it is kept, and what a second run costs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import PhaseResult
from kbjobs.errors import ConflictError, JobCancelled, KbjobsError, UsageError
from kbjobs.phases import scrape
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.phases.scrape import ScrapeParams
from kbjobs.scraping import crawl
from kbjobs.scraping.address_guard import AddressGuard
from kbjobs.scraping.page_fetch import Fetcher
from kbjobs.scraping.site_scope import SiteScope
from kbjobs.services.documents import documents
from kbjobs.services.sources import register
from kbjobs.store.frontier import Frontier
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs, write_pages
from tests.phases.test_index_offline import context
from tests.phases.test_metadata import describe_pages
from tests.servers.site_server import Answer, Page, SiteServer


def scrape_site(home: Home, url: str | None = None, source: str = "site", **params: Any) -> PhaseResult:
    folder = SourceFolder(home.sources, source)
    options = {"request_delay": 0.0, **params} if not folder.manifest.exists() else params
    plan = scrape.plan(PhaseRequest(home, Settings(home), ScrapeParams(url=url, **options), folder))
    return scrape.JOB_TYPE.run(context(home, source), plan.params)


def files_of(home: Home, source: str = "site") -> dict[str, bytes]:
    pages = SourceFolder(home.sources, source).pages
    return {str(path.relative_to(pages)): path.read_bytes() for path in sorted(pages.rglob("*")) if path.is_file()}


def page(title: str, *links: str, **more: Any) -> Page:
    anchors = "".join(f'<a href="{link}">{link}</a> ' for link in links)
    return Page(f"<html><head><title>{title}</title></head><body><p>About {title}.</p>{anchors}</body></html>", **more)


def tree(count: int) -> dict[str, Any]:
    """Pages of which each leads to two more."""
    return {
        "/" if number == 0 else f"/p/{number}": page(
            f"Page {number}", *(f"/p/{one}" for one in (2 * number + 1, 2 * number + 2) if one < count),
            etag=f'"{number}"',
        )
        for number in range(count)
    }  # fmt: skip


# -- what is fetched -----------------------------------------------------------------------------------


def test_a_site_becomes_a_source_that_can_be_read(home: Home) -> None:
    with SiteServer({"/": page("Start", "/docs/", "b?x=1"), "/docs/": page("Docs", "../", "intro#part"),
                     "/docs/intro": page("Intro", "/docs/"), "/b": page("B")}) as server:  # fmt: skip
        counts = scrape_site(home, server.url).counts
        assert (counts["pages"], counts["saved"], counts["failed"]) == (4, 4, 0)
        names = sorted(files_of(home))
        assert names[1:] == ["docs/index.html", "docs/intro.html", "index.html"] and names[0].startswith("b-")
        intro = files_of(home)["docs/intro.html"].decode()
        assert '<a href="index.html">' in intro  # reads offline
        assert f'<link rel="canonical" href="{server.url}/docs/intro">' in intro
        describe_pages(home, "site")
        found = {one["title"]: (one["url"], one["links"]) for one in documents(home, "site")}
        assert found["Intro"] == (f"{server.url}/docs/intro", 1)
        assert found["B"][0] == f"{server.url}/b?x=1"


def test_a_pattern_that_comes_later_takes_pages_from_the_copy(home: Home) -> None:
    with SiteServer(tree(20)) as server:
        assert scrape_site(home, server.url, max_depth=9).counts["pages"] == 20
        counts = scrape_site(home, exclude="/p/19").counts
        assert (counts["pages"], counts["removed"]) == (19, 1)
        assert counts["skipped_for"] == {"left out by --include or --exclude": 1}
        assert "p/19.html" not in files_of(home)


def test_limits(home: Home) -> None:
    with SiteServer(tree(31)) as server:
        assert scrape_site(home, server.url, max_depth=2).counts["pages"] == 7
        assert scrape_site(home, server.url, "few", page_limit=5).counts["pages"] == 5
        assert scrape_site(home, server.url, "one", follow_links=False).counts["pages"] == 1
        assert sorted(files_of(home, "few")) == ["index.html", "p/1.html", "p/2.html", "p/3.html", "p/4.html"]


def test_patterns_and_the_site(home: Home) -> None:
    pages = {"/": page("Start", "/docs/a", "/blog/b", "/docs/a?print=1", "https://example.org/x", "mailto:a@b",
                       "http://user:secret@127.0.0.1/x"),
             "/docs/a": page("A"), "/blog/b": page("B")}  # fmt: skip
    with SiteServer(pages) as server:
        scrape_site(home, server.url, include="/,/docs/*", exclude="*print=*")
        assert sorted(set(server.paths())) == ["/", "/docs/a", "/robots.txt"]


def test_robots(home: Home) -> None:
    robots = Page("User-agent: *\nDisallow: /private\nSitemap: {}/map.xml", type="text/plain")
    pages = {"/": page("Start", "/private/a", "/b"), "/private/a": page("A"), "/b": page("B"), "/c": page("C")}
    with SiteServer({**pages, "/robots.txt": robots}) as server:
        server.pages["/robots.txt"] = Page(str(robots.body).format(server.url), type="text/plain")
        server.pages["/map.xml"] = Page(
            f"<urlset><url><loc>{server.url}/c</loc></url><url><loc>{server.url}/private/a</loc></url></urlset>",
            type="application/xml",
        )
        counts = scrape_site(home, server.url).counts
        assert (counts["pages"], counts["skipped_for"]) == (3, {"robots.txt forbids it": 1})
        assert "/private/a" not in server.paths()


def test_a_robots_txt_that_cannot_be_read_forbids_all(home: Home) -> None:
    with SiteServer({"/": page("Start"), "/robots.txt": Page("", 503)}) as server:
        with pytest.raises(KbjobsError, match="cannot be read"):
            scrape_site(home, server.url)
        assert "/" not in server.paths()


def test_one_page_under_many_addresses_is_one_document(home: Home) -> None:
    pages = {
        "/": page("Start", "/a?utm_source=x", "/a#part", "/a;jsessionid=7", "/old", "/copy", "/a?b=1&sid=3"),
        "/a": page("A"), "/a?b=1": page("A with b"), "/old": Page(location="/a"), "/copy": page("A"),
    }  # fmt: skip
    with SiteServer(pages) as server:
        counts = scrape_site(home, server.url).counts
        assert (counts["pages"], counts["same"]) == (3, 2)
        assert server.paths().count("/a") == 2  # the redirect leads there again


def test_a_canonical_link_that_lies_is_not_believed(home: Home) -> None:
    head = "<html><head><title>{0}</title><link rel=canonical href=/></head><body>{0} {1}</body>"
    pages = {"/": head.format("Start", "<a href=/a>a</a><a href=/b>b</a>"), "/a": head.format("A", ""),
             "/b": head.format("B", "")}  # fmt: skip
    with SiteServer(pages) as server:
        assert scrape_site(home, server.url).counts["pages"] == 3


def test_assets_are_fetched_where_they_are_wished(home: Home) -> None:
    start = (
        "<html><head><title>Start</title><link rel=stylesheet href=/s.css></head><body><p>Text</p><img src=/i.png>"
        "<img src=https://elsewhere.example/x.png></body></html>"
    )
    pages: dict[str, Answer] = {"/": start, "/s.css": Page("body { background: url(bg.png) }", type="text/css"),
             "/i.png": Page(b"\x89PNG1", type="image/png"), "/bg.png": Page(b"\x89PNG2", type="image/png")}  # fmt: skip
    with SiteServer(pages) as server:
        scrape_site(home, server.url, include_assets=True)
        files = files_of(home)
        assert sorted(files) == ["bg.png", "i.png", "index.html", "s.css"]
        text = files["index.html"].decode()
        assert 'src="i.png"' in text and 'href="s.css"' in text and "https://elsewhere.example/x.png" in text
        assert scrape_site(home, server.url, "bare").counts["assets"] == 0


def test_the_charset_of_the_server(home: Home) -> None:
    body = "<title>Вада</title><p>Вада кіпіць.</p>".encode("cp1251")
    with SiteServer({"/": Page(body, type="text/html; charset=windows-1251")}) as server:
        scrape_site(home, server.url)
        assert "Вада кіпіць." in files_of(home)["index.html"].decode()


def test_books_and_office_documents_are_saved_and_tables_are_not(home: Home) -> None:
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    types = {
        "/a": "application/epub+zip", "/b.docx": word, "/c.odt": "application/vnd.oasis.opendocument.text",
        "/d.rtf": "text/rtf", "/e.csv": "text/csv", "/f.eml": "message/rfc822",
    }  # fmt: skip
    files = {path: Page(path.encode(), type=media_type) for path, media_type in types.items()}
    with SiteServer({"/": page("Start", *files)} | files) as server:
        scrape_site(home, server.url)
    assert sorted(files_of(home)) == ["a.epub", "b.docx", "c.odt", "d.rtf", "index.html"]


def test_names_of_files(home: Home) -> None:
    names = ["/A", "/a", "/con/aux", "/x%2e%2e%2fy", "/" + "long" * 100, "/a?b=1", "/a?b=2", "/d.pdf", "/e/f.html/g"]
    pages = {"/": page("Start", *names)} | {name: page(f"Page {number}") for number, name in enumerate(names)}
    pages["/x..%2Fy"] = page("Dots")
    with SiteServer(pages) as server:
        counts = scrape_site(home, server.url).counts
        files = files_of(home)
        assert counts["pages"] == len(files) == len({name.lower() for name in files})
        assert counts["failed"] == 0
        assert all(".." not in name.split("/") and len(name.encode()) < 250 for name in files)


def test_what_says_that_it_is_not_to_be_kept(home: Home) -> None:
    pages: dict[str, Answer] = {
        "/": page("Start", "/no", "/nofollow"), "/no": "<meta name=robots content=noindex><p>N</p>",
        "/nofollow": "<meta name=robots content='nofollow'><p>F</p><a href=/x>x</a>", "/x": page("X"),
    }  # fmt: skip
    with SiteServer(pages) as server:
        counts = scrape_site(home, server.url).counts
        assert (counts["pages"], counts["skipped_for"]) == (2, {"noindex": 1})
        assert "/x" not in server.paths()


# -- again ---------------------------------------------------------------------------------------------


def test_an_unchanged_site_costs_304s_and_rewrites_nothing(home: Home) -> None:
    with SiteServer(tree(60)) as server:
        scrape_site(home, server.url, max_depth=9)
        pages = SourceFolder(home.sources, "site").pages
        before = {path: path.stat().st_mtime_ns for path in pages.rglob("*.html")}
        server.requests.clear()
        counts = scrape_site(home).counts  # address and options are remembered
        assert (counts["pages"], counts["saved"], counts["unchanged"]) == (60, 0, 60)
        assert len(server.requests) == 61
        assert all("if-none-match" in request.headers for request in server.requests if request.path != "/robots.txt")
        assert {path: path.stat().st_mtime_ns for path in pages.rglob("*.html")} == before


def test_a_deeper_scrape_reads_the_links_of_unchanged_pages(home: Home) -> None:
    with SiteServer(tree(31)) as server:
        assert scrape_site(home, server.url, max_depth=1).counts["pages"] == 3
        counts = scrape_site(home, max_depth=9).counts
        assert (counts["pages"], counts["saved"], counts["unchanged"]) == (31, 28, 3)


def test_a_picture_that_moved_is_no_page(home: Home) -> None:
    start = "<title>Start</title><p>Text</p><img src=/old.png>"
    pages: dict[str, Answer] = {
        "/": start,
        "/old.png": Page(location="/new.png"),
        "/new.png": Page(b"\x89PNG", type="image/png"),
    }
    with SiteServer(pages) as server:
        counts = scrape_site(home, server.url, include_assets=True).counts
        assert (counts["pages"], counts["skipped_for"]) == (1, {})
        assert sorted(files_of(home)) == ["index.html", "new.png"]


def test_all_who_wait_for_a_robots_txt_are_told_that_it_cannot_be_read(home: Home, tmp_path: Path) -> None:
    async def ask(url: str) -> list[str]:
        options = crawl.CrawlOptions(10, 3, 0.0, True, False)
        async with Fetcher("kbjobs", AddressGuard(["127.0.0.1"])) as fetcher:
            one = crawl.Crawl(context(home, "site"), Frontier(tmp_path / "scrape.db"), fetcher,
                              SiteScope(frozenset()), options, "")  # fmt: skip
            robots = await asyncio.gather(*(one.visitor.robots_of(f"{url}/{number}") for number in range(3)))
        return [each.problem for each in robots]

    with SiteServer({"/robots.txt": Page("", 503)}) as server:
        problems = asyncio.run(ask(server.url))
        assert len(problems) == 3 and all("cannot be read" in problem for problem in problems)
        assert server.paths() == ["/robots.txt"]


def test_a_page_that_was_taken_away_is_fetched_whole(home: Home) -> None:
    with SiteServer(tree(15)) as server:
        scrape_site(home, server.url, max_depth=9)
        (SourceFolder(home.sources, "site").pages / "p" / "3.html").unlink()
        counts = scrape_site(home).counts
        assert (counts["pages"], counts["saved"], counts["unchanged"]) == (15, 1, 14)
        assert "p/3.html" in files_of(home)


def test_changed_new_and_gone_pages(home: Home) -> None:
    with SiteServer(tree(15)) as server:
        scrape_site(home, server.url, max_depth=9)
        server.pages["/p/1"] = page("Changed", "/p/3", "/p/4", "/new", etag='"new"')
        server.pages["/new"] = page("New")
        del server.pages["/p/14"]
        counts = scrape_site(home).counts
        assert (counts["pages"], counts["saved"], counts["unchanged"], counts["removed"]) == (15, 2, 13, 1)
        files = files_of(home)
        assert "p/14.html" not in files and "new.html" in files
        assert b"../new.html" in files["p/1.html"]
        describe_pages(home, "site")
        assert {one["title"] for one in documents(home, "site")} >= {"Changed", "New"}


def test_a_fifth_is_not_removed_unasked(home: Home) -> None:
    with SiteServer(tree(15)) as server:
        scrape_site(home, server.url, max_depth=9)
        for number in range(8, 15):
            del server.pages[f"/p/{number}"]
        with pytest.raises(KbjobsError, match="7 of 15 pages are no longer there"):
            scrape_site(home)
        assert len(files_of(home)) == 15
        assert scrape_site(home, allow_delete=True).counts["removed"] == 7
        assert len(files_of(home)) == 8


# -- stopping ------------------------------------------------------------------------------------------


def test_what_was_fetched_is_not_fetched_again(home: Home) -> None:
    with SiteServer(tree(60)) as server:
        folder = SourceFolder(home.sources, "site")
        plan = scrape.plan(
            PhaseRequest(home, Settings(home), ScrapeParams(url=server.url, request_delay=0.0, max_depth=9), folder)
        )
        with pytest.raises(JobCancelled):
            scrape.JOB_TYPE.run(context(home, "site", lambda: len(server.requests) > 30), plan.params)
        saved = len(files_of(home))
        assert 0 < saved < 60
        counts = scrape_site(home).counts
        assert counts["pages"] == 60
        twice = len(server.requests) - len(set(server.paths())) - 1  # robots.txt is asked for by each
        assert twice <= 16


def test_a_site_that_goes_away_waits_and_comes_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl, "FIRST_WAIT", 0.01)
    with SiteServer(tree(60)) as server:
        folder = SourceFolder(home.sources, "site")
        plan = scrape.plan(
            PhaseRequest(home, Settings(home), ScrapeParams(url=server.url, request_delay=0.0, max_depth=9), folder)
        )

        def break_in_the_middle() -> bool:
            if len(server.requests) > 20:
                server.pages |= dict.fromkeys(server.pages, Page("gone", reset_after=0))
            return False

        with pytest.raises(KbjobsError, match="no longer answers"):
            scrape.JOB_TYPE.run(context(home, "site", break_in_the_middle), plan.params)
        assert 0 < len(files_of(home)) < 60
        server.pages |= tree(60)
        assert scrape_site(home).counts["pages"] == 60


# -- what is wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"url": None}, "no start address"), ({"url": "ftp://example.org"}, "not the address of a page"),
        ({"url": "http://user:secret@example.org/"}, "a user or a password"), ({"url": "example.org"}, "is not"),
        ({"url": "https://example.org", "include": "docs"}, "can match nothing"),
        ({"url": "https://" + "a" * 3000}, "is not"),
    ],
)  # fmt: skip
def test_wrong_wishes(home: Home, params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        scrape_site(home, **params)
    assert "secret" not in str(caught.value)
    assert not home.sources.exists()


def test_another_source_is_not_overwritten(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 2)])
    with pytest.raises(ConflictError, match="was not scraped"):
        scrape_site(home, "https://example.org", "docs")


def test_a_site_of_which_nothing_can_be_had(home: Home) -> None:
    with SiteServer({"/": Page("no", 403)}) as server, pytest.raises(KbjobsError, match=r"HTTP 403 \(1\)"):
        scrape_site(home, server.url)


def test_failures_are_counted_by_cause(home: Home) -> None:
    pages = {"/": page("Start", "/a", "/b", "/c", "/loop"), "/a": Page("", 403), "/b": page("B"),
             "/c": Page(b"x" * 50, type="application/zip"), "/loop": Page(location="/loop")}  # fmt: skip
    with SiteServer(pages) as server:
        result = scrape_site(home, server.url)
        assert result.counts["causes"] == {"HTTP 403": 1, "redirect loop": 1}
        assert result.counts["skipped_for"] == {"type application/zip": 1}
        assert result.failed == 2 and "2 could not be fetched" in result.summary


def test_errors_without_end_come_to_an_end(home: Home) -> None:
    links = [f"/gone/{number}" for number in range(1_000)]
    with SiteServer({"/": page("Start", *links)}) as server:
        counts = scrape_site(home, server.url, page_limit=10).counts
        assert counts["pages"] == 1 and counts["queued"] > 500
        assert len(server.requests) < 300


def test_a_public_page_leads_to_no_private_address(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the host of the start may be at a private address; a redirect to another one is refused."""
    with SiteServer({}) as inner, SiteServer({"/": page("Start", "/x")}) as server:
        server.pages["/x"] = Page(location=inner.url + "/secret")
        result = scrape_site(home, server.url)
        assert inner.requests == []
        assert result.counts["skipped_for"] == {"leaves the site": 1}


def test_the_command(home: Home, kbjobs: Kbjobs) -> None:
    with SiteServer({**tree(7), "/p/6": Page("", 500)}) as server:
        dry = kbjobs("run", "scrape", "site", "--url", server.url, "--dry-run")
        assert "robots.txt allows" in dry.stderr + dry.stdout
        assert server.paths() == ["/robots.txt", "/"]  # the start tells whether it is a wiki
        del server.pages["/p/6"]
        run = kbjobs("run", "scrape", "site", "--url", server.url, "--request-delay", "0", "--progress", "plain")
        assert "6 pages: 6 saved, 0 unchanged" in run.stdout + run.stderr
        chain = home.path / "chain.toml"
        chain.write_text(
            'name = "night"\n[[phase]]\njob = "scrape"\nparams = { url = "' + server.url + '", request_delay = 0.0 }\n'
            '[[phase]]\njob = "metadata"\n'
        )
        kbjobs("chain", chain, "--source", "fresh")
        assert len(list(documents(home, "fresh"))) == 6
