"""Pages that want to be kept where they do not belong, or to be taken for what they are not."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import JobCancelled, KbjobsError
from kbjobs.phases import scrape
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.phases.scrape import ScrapeParams
from kbjobs.scraping import address_guard, crawl
from kbjobs.services.documents import documents
from kbjobs.store.sources import RESERVED, SourceFolder
from tests.phases.test_index_offline import context
from tests.phases.test_metadata import describe_pages
from tests.scraping.test_scrape import files_of, page, scrape_site, tree
from tests.servers.site_server import Page, SiteServer

pytestmark = pytest.mark.usefixtures("hasty")

# -- names -------------------------------------------------------------------------------------------

NAMES = (
    "/A", "/a", "/a.html", "/A.HTML", "/a.html/b", "/a.html/", "/a/", "/a/b", "/a//b", "/a/b/", "/a%2Fb", "/a%5cb",
    "/a_b", "/a:b", "/a*b", "/a%3Fb", "/a%22b", "/a%3Cb%3E", "/a%7Cb", "/con", "/CON.html", "/con.",
    "/aux/nul.txt/prn", "/COM1", "/lpt9.html", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd",
    "/x/../../../etc/shadow", "/...", "/.../x", "/.hidden", "/.%20.", "/%20", "/trailing.", "/trailing%20", "/trailing",
    "/" + "l" * 300, "/" + "l" * 299 + "m", "/" + "l" * 300 + "/" + "l" * 300 + ".html", "/" + "%C3%BC" * 200,
    "/" + "/".join(map(str, range(100, 160))),
    "/" + "/".join(map(str, range(100, 159))) + "/x", "/%E2%80%AElmth.exe", "/line%0Abreak", "/%1B[31m", "/%FF%FE",
    "/%F0%9F%92%A9", "/picture.png", "/picture.png/x", "/style.css", "/-rf", "/~", "/$HOME", "/%25",
    "/%252e%252e", "/index", "/index.html", "/index.html?", "/index?x", "/index?X", "/?x", "/f", "/f.html/g",
)  # fmt: skip


def test_every_address_has_a_file_of_its_own_that_any_disk_takes(home: Home) -> None:
    with SiteServer({"/": page("Start", *NAMES), "*": lambda request: page(request.path)}) as server:
        server.pages |= {"/robots.txt": Page("", 404), "/?x": page("Start, asked for with a query")}
        counts = scrape_site(home, server.url).counts
        files = list(files_of(home))
        asked = set(server.paths()) - {"/robots.txt"}
        assert (counts["failed"], counts["same"], counts["skipped_for"]) == (0, 0, {})
        folders = {str(folder).lower() for file in files for folder in PurePosixPath(file).parents}
        assert not folders & {file.lower() for file in files}
        assert counts["pages"] == len(files) == len({file.lower() for file in files}) == len(asked)
        assert len(asked) > len(NAMES) - 5
        for segment in {segment for file in files for segment in file.split("/")}:
            assert len(segment.encode()) < 200
            assert segment.split(".")[0].strip().lower() not in RESERVED
            assert not re.search(r'[\x00-\x1f\x7f<>:"\\|?*\u202e]|[. ]$|^\.', segment), segment
        assert {path.name for path in home.sources.iterdir()} == {"site"}
        assert scrape_site(home).counts["unchanged"] == len(files)
        assert list(files_of(home)) == files


def test_a_name_with_a_nul_is_not_asked_for(home: Home) -> None:
    with SiteServer({"/": page("Start", "/%00", "/a%00.html", "/d?%00"), "/d": page("D")}) as server:
        assert scrape_site(home, server.url).counts["pages"] == 2
        assert set(server.paths()) == {"/", "/d?%00", "/robots.txt"}


def test_a_site_that_takes_the_names_of_others_beforehand(home: Home) -> None:
    with SiteServer() as server:
        digest = hashlib.sha256(f"{server.url}/A".encode()).hexdigest()[:8]
        links = ["/a", f"/a-{digest}", f"/A-{digest}-2", "/A"]
        server.pages |= {"/": page("Start", *links)} | {link: page(link) for link in links}
        assert scrape_site(home, server.url).counts["pages"] == 5
        assert len({file.lower() for file in files_of(home)}) == 5


def test_fragments_and_passwords_make_no_new_pages(home: Home) -> None:
    with SiteServer({"/a": page("A"), "/old": Page(location="/a#old")}) as server:
        named = server.url.replace("//", "//user:secret@")
        links = ["/a#1", "/a#2", f"{named}/a", "/old", "/named"]
        server.pages["/"] = "<title>Start</title><p>Text" + "".join(f"<a href='{link}'>a link</a>" for link in links)
        server.pages |= {"/named": Page(location=f"{named}/a"), "/robots.txt": Page("", 404)}
        counts = scrape_site(home, server.url).counts
        assert (counts["pages"], counts["same"], counts["skipped"]) == (2, 2, 0)
        assert sorted(files_of(home)) == ["a.html", "index.html"]
        assert b"secret" not in files_of(home)["index.html"]


def test_hosts_in_any_alphabet(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(host: str, port: int) -> list[str]:
        assert host == "xn--bcher-kva.test"
        return ["127.0.0.1"]

    monkeypatch.setattr(address_guard, "look_up", look_up)
    with SiteServer({"/a": page("A"), "/b": page("B"), "/c": page("C")}) as server:
        links = [
            f"http://BÜCHER.test:{server.port}/a",
            f"http://xn--bcher-kva.test:{server.port}/b",
            "//bu\u0308cher.test/x",
        ]
        links += [
            "http://пример.example/",
            "http://xn--/",
            f"http://{'ü' * 300}.test/",
            "http://a\u200db.test/",
            "//:1/",
            "/c",
        ]
        server.pages["/"] = page("Start", *links)
        assert scrape_site(home, f"http://bücher.test:{server.port}/").counts["pages"] == 4
        assert {request.headers["host"] for request in server.requests} == {f"xn--bcher-kva.test:{server.port}"}


# -- what a page says of itself ----------------------------------------------------------------------

LIE = "<link rel=canonical href='https://example.org/another'>"
LIES = {
    "before the head": f"{LIE}<html><head><title>T</title></head><p>Text of it.</p>",
    "behind a head in a comment": f"<html><!-- <head> -->{LIE}<title>T</title><p>Text of it.</p></html>",
    "behind a head in a script": f"<html><script>'<head>'</script>{LIE}<title>T</title><p>Text of it.</p></html>",
    "behind a head in the title": f"<title><head></title>{LIE}<p>Text of it.</p>",
    "twice": f"<head>{LIE}{LIE.upper()}<title>T</title></head><p>Text of it.</p>",
    "in a page with a password": LIE.replace("//", "//user:secret@") + "<title>T</title><p>Text of it.</p>",
}


@pytest.mark.parametrize("where", LIES)
def test_a_page_cannot_claim_to_be_another_sites(home: Home, where: str) -> None:
    with SiteServer({"/": LIES[where]}) as server:
        scrape_site(home, server.url)
        describe_pages(home, "site")
        assert [one["url"] for one in documents(home, "site")] == [f"{server.url}/"]
        assert b"example.org" not in files_of(home)["index.html"]


def test_a_base_says_where_links_lead(home: Home) -> None:
    start = "<head><base href='/docs/'><base href='https://example.org/'></head><a href='x#p'>x</a><img src=i.png>"
    with SiteServer({"/": start, "/docs/x": page("X"), "/docs/i.png": Page(b"\x89PNG", type="image/png")}) as server:
        assert scrape_site(home, server.url, include_assets=True).counts["pages"] == 2
        text = files_of(home)["index.html"].decode()
        assert 'href="docs/x.html#p"' in text and 'src="docs/i.png"' in text and "base" not in text


def test_a_base_on_another_site_leads_nowhere(home: Home) -> None:
    with SiteServer({"/": "<base href='https://example.org/'><p>Text</p><a href='a'>a</a>", "/a": page("A")}) as server:
        assert scrape_site(home, server.url).counts["pages"] == 1
        assert b'"https://example.org/a"' in files_of(home)["index.html"]


# -- content -----------------------------------------------------------------------------------------


def test_an_error_text_that_says_200_is_one_page(home: Home) -> None:
    links = [f"/gone/{number}" for number in range(30)]
    with SiteServer({"/": page("Start", *links, "/good"), "/good": page("Good"), "*": page("Not found")}) as server:
        server.pages["/robots.txt"] = Page("", 404)
        counts = scrape_site(home, server.url).counts
        assert (counts["pages"], counts["same"]) == (3, 29)


def test_what_is_no_page_is_named_by_its_type(home: Home) -> None:
    types = {
        "/a": "application/octet-stream",
        "/b": "image/png",
        "/c": "text/css",
        "/d": "video/mp4",
        "/e": "no type at all",
    }
    pages: dict[str, Any] = {path: Page("<p>Page</p>", type=kind) for path, kind in types.items()}
    with SiteServer({"/": page("Start", *types, "/none"), **pages, "/none": Page("<p>None</p>", type="")}) as server:
        counts = scrape_site(home, server.url).counts
        assert counts["skipped_for"] == {f"type {kind}": 1 for kind in types.values()}
        assert sorted(files_of(home)) == ["index.html", "none.html"]


TEXT = "<title>Größe</title><p>Grüße aus Straßburg, schöne Fußwege und süße Äpfel.</p>"
CHARSETS = {
    "UTF-8 that says it is Latin-1": (TEXT.encode(), "iso-8859-1"),
    "Latin-1 that says it is UTF-8": (TEXT.encode("latin-1"), "utf-8"),
    "UTF-16 that says it is UTF-8": (TEXT.encode("utf-16"), "utf-8"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "us-ascii"),
    "a charset that is none": (TEXT.encode(), "zlib_codec"),
    "a charset that nobody knows": (TEXT.encode("latin-1"), "x" * 1_000),
    "another one in the page": (b"<meta charset=koi8-r>" + TEXT.encode(), "idna"),
}


@pytest.mark.parametrize("name", CHARSETS)
def test_a_charset_that_is_not_true(home: Home, name: str) -> None:
    body, charset = CHARSETS[name]
    with SiteServer({"/": Page(body, type=f"text/html; charset={charset}")}) as server:
        scrape_site(home, server.url)
        assert "Grüße aus Straßburg, schöne Fußwege" in files_of(home)["index.html"].decode()
        describe_pages(home, "site")
        assert [one["title"] for one in documents(home, "site")] == ["Größe"]


@pytest.mark.parametrize("later", [Page(""), Page(b"\x89PNG\r\n\x1a\n"), Page("", 403), Page("x", reset_after=0)])
def test_what_was_had_is_not_given_up_for_what_is_no_page(home: Home, later: Page) -> None:
    with SiteServer({"/": page("Start", "/a"), "/a": page("A", "/b"), "/b": page("B")}) as server:
        scrape_site(home, server.url)
        before = files_of(home)
        server.pages["/a"] = later
        result = scrape_site(home)
        assert (result.failed, result.counts["removed"]) == (1, 0)
        assert files_of(home) == before
        del server.pages["/a"]  # but once it is gone, it is
        assert scrape_site(home, allow_delete=True).counts["removed"] == 1


@pytest.mark.parametrize("tag", ['"ü"', '"' + "x" * 60_000 + '"', "\x01", '"\t"'])
def test_an_etag_that_no_request_can_carry(home: Home, tag: str) -> None:
    with SiteServer({"/": page("Start", etag=tag)}) as server:
        scrape_site(home, server.url)
        result = scrape_site(home)
        assert (result.failed, result.counts["unchanged"]) == (0, 1)


def stop_scrape(home: Home, url: str, is_stopping: Callable[[], bool], **params: Any) -> None:
    options = ScrapeParams(url=url, request_delay=0.0, **params)
    plan = scrape.plan(PhaseRequest(home, Settings(home), options, SourceFolder(home.sources, "site")))
    with pytest.raises(JobCancelled):
        scrape.JOB_TYPE.run(context(home, "site", is_stopping), plan.params)


def test_a_name_that_is_lost_between_two_attempts_fails_no_page(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"site.test": ["127.0.0.1"]}

    async def look_up(host: str, port: int) -> list[str]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known[host]

    monkeypatch.setattr(address_guard, "look_up", look_up)
    monkeypatch.setattr(crawl, "MAX_TRIES", 5)  # as it is: fewer would be used up before the site is taken for down
    with SiteServer(tree(60)) as server:
        stop_scrape(home, f"http://site.test:{server.port}", lambda: len(server.requests) > 30, max_depth=9)
        lost = known.pop("site.test")
        for _ in range(2):
            with pytest.raises(KbjobsError, match="no longer answers"):
                scrape_site(home)
        known["site.test"] = lost
        assert scrape_site(home).counts["pages"] == 60
        assert len(server.requests) < 60 + 16 + 4


def test_a_stop_among_redirects_costs_no_page_of_the_limit(home: Home) -> None:
    moved = {f"/old/{number}": Page(location=f"/new/{number}") for number in range(20)}
    with SiteServer({"/": page("Start", *moved), **moved, "*": lambda request: page(request.path)}) as server:
        server.pages["/robots.txt"] = Page("", 404)
        scrape_site(home, server.url, "calm", page_limit=10)
        stop_scrape(home, server.url, lambda: len(files_of(home)) > 4, page_limit=10)
        assert 1 < len(files_of(home)) < 10
        scrape_site(home)
        assert files_of(home) == files_of(home, "calm")
