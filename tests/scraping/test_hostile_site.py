"""Sites that want to be scraped for ever, or to break whoever scrapes them: each trap ends, and the good pages stay."""

from __future__ import annotations

import gzip
import itertools
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import JobCancelled, KbjobsError
from kbjobs.phases import scrape
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.phases.scrape import ScrapeParams
from kbjobs.scraping import address_guard, crawl
from kbjobs.scraping.links import MAX_LINKS
from kbjobs.scraping.site_scope import MAX_EQUAL_SEGMENTS, URL_LIMIT
from kbjobs.scraping.sitemaps import MAX_URLS
from kbjobs.store.sources import SourceFolder
from tests.phases.test_index_offline import context
from tests.scraping.test_scrape import files_of, page, scrape_site
from tests.servers.site_server import Answer, Page, Request, SiteServer

pytestmark = pytest.mark.usefixtures("hasty")

GOOD: dict[str, Answer] = {f"/good/{number}": page(f"Good {number}") for number in range(3)}
GOOD_FILES = {f"good/{number}.html" for number in range(3)}


def site(*links: str, **pages: Answer) -> dict[str, Answer]:
    """A site of good pages whose start leads to a trap before it leads to them; ``trap`` is all the rest of it."""
    return {"/": page("Start", *links, *GOOD), **GOOD, **({"*": pages["trap"]} if "trap" in pages else {})}


def has_good(home: Home) -> bool:
    return GOOD_FILES | {"index.html"} <= set(files_of(home))


# -- no end ------------------------------------------------------------------------------------------


def month(request: Request) -> Page:
    number = int(request.path.rpartition("=")[2])
    return page(f"Month {number}", f"/cal?month={number + 1}", f"/cal?month={number - 1}")


def day(request: Request) -> Page:
    year, month, day = map(int, request.path.strip("/").split("/"))
    return page(f"{year}-{month}-{day}", f"/{year + 1}/{month}/{day}", f"/{year}/{month + 1}/{day}", f"{day + 1}")


visits = itertools.count()


def visit(request: Request) -> Page:
    """Each answer leads to a new address of the same page."""
    return page(f"Visit {next(visits)}", *(f"/shop?visitor={next(visits)}" for _ in range(5)))


def visit_in_path(request: Request) -> Page:
    return page(f"Visit {next(visits)}", *(f"/(S({next(visits)}))/shop" for _ in range(5)))


ENDLESS: dict[str, tuple[str, Callable[[Request], Page]]] = {
    "a calendar by query": ("/cal?month=0", month),
    "a calendar by path": ("/2026/1/1", day),
    "session ids in the query": ("/shop?visitor=0", visit),
    "session ids in the path": ("/(S(0))/shop", visit_in_path),
    "a number that grows": ("/x?a=1", lambda request: page(request.path, f"{request.path}0")),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_site_without_an_end_ends_at_the_page_limit(home: Home, name: str) -> None:
    start, trap = ENDLESS[name]
    with SiteServer(site(start, trap=trap) | {"/robots.txt": Page("", 404)}) as server:
        counts = scrape_site(home, server.url, page_limit=30, max_depth=1_000).counts
        assert (counts["pages"], counts["failed"], len(server.requests)) == (30, 0, 31)
        assert has_good(home)


@pytest.mark.parametrize("link", ["more/", "a/b/", "../more/more/"])
def test_a_path_that_grows_by_its_own_links_is_left(home: Home, link: str) -> None:
    trap = lambda request: page(request.path, link)  # noqa: E731
    with SiteServer(site("/more/", trap=trap) | {"/robots.txt": Page("", 404)}) as server:
        counts = scrape_site(home, server.url, page_limit=1_000, max_depth=1_000).counts
        deepest = [path.strip("/").split("/") for path in server.paths()]
        assert max(path.count(part) for path in deepest for part in path if part) == MAX_EQUAL_SEGMENTS
        assert counts["pages"] == len(files_of(home)) < 20
        assert has_good(home)


def test_ids_of_sessions_that_are_known_make_no_new_pages(home: Home) -> None:
    links = [f"/shop?sid={number}" for number in range(20)] + [f"/shop;jsessionid={number}" for number in range(20)]
    links += [f"/shop?PHPSESSID={number}&utm_source=x" for number in range(20)]
    with SiteServer(site(*links, trap=lambda request: page("Shop", f"/shop?sid={next(visits)}"))) as server:
        server.pages["/robots.txt"] = Page("", 404)
        assert scrape_site(home, server.url).counts["pages"] == len(GOOD) + 2
        assert sorted(server.paths()) == ["/", *GOOD, "/robots.txt", "/shop"]


def test_the_same_page_under_new_addresses_is_one(home: Home) -> None:
    trap = page("Shop", *(f"/shop?visitor={number}" for number in range(100)))
    with SiteServer(site("/shop?visitor=0", trap=trap) | {"/robots.txt": Page("", 404)}) as server:
        counts = scrape_site(home, server.url, page_limit=30).counts
        assert (counts["pages"], counts["same"]) == (len(GOOD) + 2, 30 - len(GOOD) - 2)
        assert has_good(home)


def test_a_page_of_10_000_links(home: Home) -> None:
    trap = page("All", *(f"/p/{number}" for number in range(10_000)))
    with SiteServer(site("/all", trap=lambda request: page(request.path)) | {"/all": trap}) as server:
        counts = scrape_site(home, server.url, page_limit=30).counts
        assert counts["pages"] == 30
        assert counts["queued"] == MAX_LINKS + len(GOOD) + 2 - 30
        assert has_good(home)


def test_addresses_of_8_000_characters_are_not_asked_for(home: Home) -> None:
    long = "x" * 8_000
    links = [f"/{long}", f"/?q={long}", f"/{'%C3%BC' * 1_400}", f"/{'ü' * 1_400}"]
    with SiteServer(site(*links, "/moved", trap=lambda request: page(request.path))) as server:
        server.pages |= {"/robots.txt": Page("", 404), "/moved": Page(location=f"/{long}")}
        assert scrape_site(home, server.url).counts["pages"] == len(GOOD) + 2
        # What a redirect leads to is had under the address that leads there.
        assert [path for path in server.paths() if len(path) > URL_LIMIT] == [f"/{long}"]
        assert set(files_of(home)) == GOOD_FILES | {"index.html", "moved.html"}


def test_a_cookie_with_each_page_does_not_fill_the_requests(home: Home) -> None:
    """A server refuses headers that are too long; cookies that nobody needs must not make them so."""

    def bake(request: Request) -> Page:
        if len(request.headers.get("cookie", "")) > 8_000:
            return Page("Request Header Or Cookie Too Large", 400)
        return page(request.path, headers={"Set-Cookie": f"visit{request.path[3:]}={'x' * 300}; Path=/"})

    links = [f"/p/{number}" for number in range(60)]
    with SiteServer(site(*links, trap=bake)) as server:
        counts = scrape_site(home, server.url).counts
        assert (counts["pages"], counts["failed"]) == (64, 0)


# -- redirects ---------------------------------------------------------------------------------------

REDIRECTS = {
    "/self": ("/self", "redirect loop"),
    "/circle": ("/circle/2", "redirect loop"),
    "/chain/0": ("/chain/1", "too many redirects"),
    "/out": ("https://example.org/", "leaves the site"),
    "/hop": ("/out", "leaves the site"),
    "/metadata": ("http://169.254.169.254/latest/meta-data/", "leaves the site"),
    "/name": ("http://localhost:{port}/secret", "leaves the site"),
    "/file": ("file:///etc/passwd", "broken reply"),
    "/script": ("javascript:alert(1)", "broken reply"),
    "/broken": ("http://[::1", "broken reply"),
    "/forbidden": ("/private/a", "robots.txt forbids it"),
}


def test_redirects_that_lead_nowhere_are_named_by_cause(home: Home) -> None:
    pages = site(*REDIRECTS) | {
        "/robots.txt": Page("User-agent: *\nDisallow: /private/", type="text/plain"),
        "/private/a": page("Private"), "/secret": page("Secret"), "/circle/2": Page(location="/circle"),
    }  # fmt: skip
    pages |= {f"/chain/{number}": Page(location=f"/chain/{number + 1}") for number in range(20)}
    with SiteServer(pages) as server:
        server.pages |= {
            path: Page(location=target.format(port=server.port)) for path, (target, _) in REDIRECTS.items()
        }
        result = scrape_site(home, server.url)
        causes = [cause for _, cause in REDIRECTS.values()]
        found = result.counts["causes"] | result.counts["skipped_for"]
        assert found == {cause: causes.count(cause) for cause in causes}
        assert result.failed == sum(result.counts["causes"].values())
        assert not {"/private/a", "/secret"} & set(server.paths())
        assert has_good(home) and len(files_of(home)) == 4


def test_a_subdomain_at_a_private_address_is_refused_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the start's own host may be private; however many such links there are, the site is not taken for down."""
    addresses = {"site.test": ["127.0.0.1"], "inner.site.test": ["169.254.169.254"], "rebound.site.test": ["127.0.0.1"]}

    async def look_up(host: str, port: int) -> list[str]:
        return addresses[host]

    monkeypatch.setattr(address_guard, "look_up", look_up)
    monkeypatch.setattr(crawl, "FIRST_WAIT", 4.0)
    with SiteServer() as server:
        start = f"http://site.test:{server.port}"
        links = [
            f"http://{host}.site.test:{server.port}/{number}" for host in ("inner", "rebound") for number in range(15)
        ]
        server.pages |= site(*links, "/moved") | {"/moved": Page(location=links[0])}
        began = time.monotonic()
        result = scrape_site(home, start, allow_subdomains=True)
        assert result.counts["causes"] == {"private address": 31}
        assert time.monotonic() - began < 3  # no second try
        assert {request.headers["host"] for request in server.requests} == {f"site.test:{server.port}"}
        assert has_good(home)


def test_a_page_behind_too_many_names_of_itself(home: Home) -> None:
    """A redirect that sets a cookie each time is no circle, and must end nevertheless."""
    trap = lambda request: Page(location="/again", headers={"Set-Cookie": f"n={next(visits)}"})  # noqa: E731
    with SiteServer(site("/again") | {"/again": trap}) as server:
        assert scrape_site(home, server.url).counts["causes"] == {"too many redirects": 1}
        assert len(server.requests) < 20


# -- bodies ------------------------------------------------------------------------------------------

BODIES: dict[str, tuple[Page, str]] = {
    "a drip": (Page("x" * 1_000, drip=0.01), "too slow"),
    "no answer": (Page("x", delay=1), "timeout"),
    "a gzip bomb": (Page(gzip.compress(bytes(20_000_000)), headers={"Content-Encoding": "gzip"}), "body too large"),
    "a body without an end": (Page("x" * 1_000_000, endless=True), "body too large"),
    "a length of terabytes": (Page("x", declared_length=2**42), "body too large"),
    "a length that is too long": (Page("x" * 50, declared_length=1_000), "broken reply"),
    "damaged gzip": (Page(gzip.compress(b"x" * 500)[:-9], headers={"Content-Encoding": "gzip"}), "broken reply"),
    "an unasked encoding": (Page("x", headers={"Content-Encoding": "br"}), "broken reply"),
    "no HTTP": (Page(raw=b"SSH-2.0-OpenSSH_9.9\r\n"), "broken reply"),
    "headers without an end": (Page(raw=b"HTTP/1.1 200 OK\r\n" + b"X-More: y\r\n" * 50_000), "broken reply"),
    "a reset": (Page("x" * 50, reset_after=10), "connection lost"),
    "unchanged, as nobody has asked": (Page("", 304), "HTTP 304"),
    "an error": (Page("", 500), "HTTP 500"),
    "nothing": (Page(" \n"), "empty page"),
    "a picture that says it is HTML": (Page(b"\x89PNG\r\n\x1a\n" + bytes(50)), "binary content"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_cannot_be_kept_fails_alone(home: Home, name: str) -> None:
    trap, cause = BODIES[name]
    pages = site("/bad/1", "/bad/2") | {"/bad/1": trap, "/bad/2": trap}
    with SiteServer(pages) as server:
        result = scrape_site(home, server.url)
        assert result.counts["causes"] == {cause: 2}
        assert result.failed == 2 and f"2 could not be fetched: 2 {cause}" in result.summary
        assert set(files_of(home)) == GOOD_FILES | {"index.html"}


def test_a_length_that_is_too_short_costs_the_rest_of_that_page_only(home: Home) -> None:
    body = str(page("Short", "/x").body)
    with SiteServer(site("/short") | {"/short": Page(body, declared_length=50)}) as server:
        assert scrape_site(home, server.url).counts["pages"] == len(GOOD) + 2
        assert "About" not in files_of(home)["short.html"].decode()


@pytest.mark.parametrize("bad", [Page("", 500), Page("x", reset_after=0), Page("x", declared_length=9)])
def test_many_bad_pages_in_a_row_are_no_site_that_is_down(home: Home, bad: Page) -> None:
    links = [f"/bad/{number}" for number in range(crawl.MAX_FAILURES * 2)]
    with SiteServer(site(*links) | dict.fromkeys(links, bad)) as server:
        result = scrape_site(home, server.url)
        assert result.failed == len(links)
        assert has_good(home)


def test_a_site_that_gives_nothing_but_errors_is_down(home: Home) -> None:
    links = [f"/bad/{number}" for number in range(crawl.MAX_FAILURES * 2)]
    start: list[Answer] = [page("Start", *links), Page("", 502)]
    with SiteServer({"/": start, "*": Page("", 502), "/robots.txt": "User-agent: *\nAllow: /"}) as server:
        with pytest.raises(KbjobsError, match=r"no longer answers \(HTTP 502\)"):
            scrape_site(home, server.url)
        assert set(files_of(home)) == {"index.html"}


@pytest.mark.parametrize("place", ["/robots.txt", "/map.xml", "/", "/good/1"])
def test_a_site_that_asks_for_an_hours_rest_or_is_slow_can_be_left(home: Home, place: str) -> None:
    delay = 5.0
    with SiteServer(site()) as server:
        server.pages["/robots.txt"] = Page(f"Sitemap: {server.url}/map.xml", type="text/plain")
        is_slow = not place.startswith("/good")
        server.pages[place] = Page("", 503, headers={"Retry-After": "3600"}, delay=delay if is_slow else 0)
        plan = scrape.plan(
            PhaseRequest(home, Settings(home), ScrapeParams(url=server.url), SourceFolder(home.sources, "site"))
        )
        began = time.monotonic()
        with pytest.raises(JobCancelled):
            scrape.JOB_TYPE.run(context(home, "site", lambda: place in server.paths()), plan.params)
        assert time.monotonic() - began < delay  # left before the answer came


# -- robots.txt and sitemaps -------------------------------------------------------------------------

RULES = "User-agent: *\nDisallow: /private/\n"
ROBOTS: dict[str, tuple[Page, bool]] = {
    "of 10 MB": (Page(RULES + "Disallow: /other/x\n" * 500_000, type="text/plain"), True),
    "of 10 MB in one line": (Page(RULES + "#" * 10_000_000, type="text/plain"), True),
    "without an end": (Page(RULES + "Disallow: /other/\n" * 1_000, type="text/plain", endless=True), True),
    "in UTF-16": (Page(RULES.encode("utf-16"), type="text/plain"), True),
    "with a byte order mark": (Page(RULES.encode("utf-8-sig"), type="text/plain"), True),
    "that is a web page": (Page(f"<html><pre>\n{RULES}</pre></html>"), False),
    "that is packed to a bomb": (Page(gzip.compress(bytes(20_000_000)), headers={"Content-Encoding": "gzip"}), False),
}  # fmt: skip


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robots_txt(home: Home, name: str) -> None:
    robots, has_rules = ROBOTS[name]
    with SiteServer(site("/private/a") | {"/robots.txt": robots, "/private/a": page("Private")}) as server:
        began = time.monotonic()
        counts = scrape_site(home, server.url).counts
        assert ("/private/a" in server.paths()) != has_rules
        assert counts["skipped_for"] == ({"robots.txt forbids it": 1} if has_rules else {})
        assert has_good(home)
        assert time.monotonic() - began < 10


def in_sitemap(*urls: str) -> str:
    return "<urlset>" + "".join(f"<url><loc>{url}</loc></url>" for url in urls) + "</urlset>"


LAUGHS = "<!DOCTYPE l [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + number)} '{f'&{chr(97 + number)};' * 10}'>" for number in range(9)
) + "]><urlset><url><loc>&j;</loc></url></urlset>"  # fmt: skip
SITEMAPS: dict[str, tuple[bytes, str]] = {
    "a gzip bomb": (gzip.compress(bytes(60_000_000)), "bytes become more than"),
    "a billion laughs": (LAUGHS.encode(), "it declares an entity"),
    "elements without an end": (b"<urlset>" + b"<url>" * 1_000, "elements are nested more than"),
    "no XML": (b"<urlset><url>", "it is not XML"),
    "an index of an index": (b"", "An index inside an index is not followed"),
}


@pytest.mark.parametrize("name", SITEMAPS)
def test_a_hostile_sitemap_costs_itself_only(home: Home, caplog: pytest.LogCaptureFixture, name: str) -> None:
    body, problem = SITEMAPS[name]
    with SiteServer(site()) as server:
        index = "<sitemapindex>{}</sitemapindex>"
        maps = [f"{server.url}/{each}.xml" for each in ("all", "bad", "good")]
        listed = index.format("".join(f"<sitemap><loc>{one}</loc></sitemap>" for one in maps))
        server.pages["/robots.txt"] = Page(f"Sitemap: {maps[0]}", type="text/plain")
        server.pages["/all.xml"] = listed  # it names itself
        server.pages["/bad.xml"] = Page(body, type="application/xml") if body else listed
        server.pages["/good.xml"] = in_sitemap(f"{server.url}/listed")
        server.pages["/listed"] = page("Listed")
        counts = scrape_site(home, server.url).counts
        assert counts["pages"] == len(GOOD) + 2
        assert has_good(home)
        assert problem in caplog.text
        assert server.paths().count("/all.xml") == 1


@pytest.mark.full
@pytest.mark.slow
def test_sitemaps_of_200_000_addresses(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    def list_pages(request: Request) -> Any:
        first = int(request.path.removeprefix("/sitemap").removesuffix(".xml")) * MAX_URLS
        return in_sitemap(*(f"{server.url}/p/{number}" for number in range(first, first + MAX_URLS + 1)))

    with SiteServer({"/": page("Start"), "*": lambda request: page(request.path)}) as server:
        maps = [f"/sitemap{number}.xml" for number in range(4)]
        server.pages |= dict.fromkeys(maps, list_pages)
        robots = "".join(f"Sitemap: {server.url}{one}\n" for one in maps)
        server.pages["/robots.txt"] = Page(robots, type="text/plain")
        began = time.monotonic()
        with caplog.at_level(logging.WARNING):
            counts = scrape_site(home, server.url, page_limit=30).counts
        assert (counts["pages"], counts["queued"]) == (30, 4 * MAX_URLS - 29)
        assert caplog.text.count("has more than 50,000 entries, the rest was not read") == 4
        assert time.monotonic() - began < 60


def test_a_site_of_few_pages_that_dies_is_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three addresses are left: all have had their tries before a whole row of fetches has failed."""
    monkeypatch.setattr(crawl, "FIRST_WAIT", 0.01)
    pages = {"/": page("Start", "/a", "/b", "/c"), "/a": page("A"), "/b": page("B"), "/c": page("C")}
    with SiteServer({**pages, **{path: Page(status=503) for path in ("/a", "/b", "/c")}}) as server:
        monkeypatch.setattr("kbjobs.scraping.throttle.MAX_BACKOFF", 0.01)
        server.pages["/"] = [pages["/"], Page(status=503)]
        with pytest.raises(crawl.SiteDown, match="no longer answers"):
            scrape_site(home, server.url)
        server.pages |= pages
        counts = scrape_site(home).counts
        assert (counts["pages"], counts["failed"]) == (4, 0)


def test_a_page_that_never_answers_is_no_site_that_is_down(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl, "FIRST_WAIT", 0.01)
    with SiteServer({"/": page("Start", "/a", "/b"), "/a": page("A"), "/b": Page(status=500)}) as server:
        counts = scrape_site(home, server.url).counts
        assert (counts["pages"], counts["causes"]) == (2, {"HTTP 500": 1})
