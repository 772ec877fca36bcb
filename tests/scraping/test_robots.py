"""robots.txt as sites have it, and as they do not."""

from __future__ import annotations

import asyncio
import time

import pytest

from kbjobs.scraping.page_fetch import FetchLimits
from kbjobs.scraping.robots import MAX_BYTES, Robots
from kbjobs.scraping.site_files import fetch_robots
from tests.scraping.conftest import AGENT, fetcher_for
from tests.servers.site_server import Page, SiteServer

RULES = """
User-agent: *
Disallow: /private/
Allow: /private/open
Disallow: /*.pdf$
Crawl-delay: 2.5
Sitemap: https://example.org/sitemap.xml

User-agent: other-bot
Disallow: /
Sitemap: /relative.xml
Sitemap: file:///etc/passwd
Sitemap: http://example.org/news.xml
Sitemap: https://example.org/sitemap.xml
"""


def fetch(site: SiteServer, path: str = "/a/b?c", limits: FetchLimits | None = None) -> Robots:
    async def ask() -> Robots:
        async with fetcher_for(limits=limits) as fetcher:
            return await fetch_robots(fetcher, site.url.replace("//", "//user:secret@") + path)

    return asyncio.run(ask())


def test_rules(site: SiteServer) -> None:
    site.pages["/robots.txt"] = Page(RULES, type="text/plain")
    robots = fetch(site)
    assert site.paths() == ["/robots.txt"]
    assert "authorization" not in site.requests[0].headers
    assert (robots.problem, robots.note, robots.crawl_delay) == ("", "", 2.5)
    assert robots.sitemaps == ["https://example.org/sitemap.xml", "http://example.org/news.xml"]
    for path, allowed in {
        "/": True, "/private": True, "/private/a": False, "/private/open/a": True, "/a.pdf": False, "/a.pdf?x": True,
        "/robots.txt": True, "/%70rivate/a": False,
    }.items():  # fmt: skip
        assert robots.allows(site.url + path) == allowed, path


def test_the_group_of_the_own_name_counts() -> None:
    text = (
        "User-agent: kbjobs-test\nDisallow: /mine\n\nUser-agent: example\nDisallow: /\n\nUser-agent: *\nDisallow: /all"
    )
    robots = Robots(text, AGENT)
    assert not robots.allows("http://example.org/mine")
    assert robots.allows("http://example.org/all")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_where_there_is_none_everything_is_allowed(site: SiteServer, status: int) -> None:
    site.pages["/robots.txt"] = Page("User-agent: *\nDisallow: /", status)
    robots = fetch(site)
    assert robots.allows(f"{site.url}/a")
    assert (robots.problem, robots.crawl_delay, robots.sitemaps) == ("", 0, [])


@pytest.mark.parametrize("status", [429, 500, 503, 599])
def test_where_it_cannot_be_read_nothing_is_allowed(site: SiteServer, status: int) -> None:
    site.pages["/robots.txt"] = Page("", status)
    robots = fetch(site)
    assert not robots.allows(f"{site.url}/a")
    assert robots.problem == f"robots.txt cannot be read: {site.url}/robots.txt answers {status}"


def test_where_nobody_answers_nothing_is_allowed(site: SiteServer) -> None:
    site.gate.clear()
    robots = fetch(site, limits=FetchLimits(idle=0.2))
    assert not robots.allows(f"{site.url}/a")
    assert robots.problem == f"robots.txt cannot be read: {site.url}/robots.txt: timeout"


def test_a_redirect_to_another_host(site: SiteServer) -> None:
    with SiteServer({"/5": "User-agent: *\nDisallow: /"}) as other:
        site.pages["/robots.txt"] = Page(location="/2")
        site.pages |= {f"/{number}": Page(location=f"/{number + 1}") for number in (2, 3, 4)}
        site.pages["/5"] = Page(location=f"{other.url}/5")
        assert not fetch(site).allows(f"{site.url}/a")


def test_redirects_without_an_end(site: SiteServer) -> None:
    site.pages["/robots.txt"] = Page(location="/robots.txt")
    assert fetch(site).allows(f"{site.url}/a")
    site.pages["/robots.txt"] = lambda request: Page(location=f"{request.path}?")
    assert fetch(site).allows(f"{site.url}/a")


def test_a_redirect_to_a_private_address(site: SiteServer) -> None:
    site.pages["/robots.txt"] = Page(location="http://10.0.0.1/robots.txt")
    assert "private address" in fetch(site).problem


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(site: SiteServer, encoding: str) -> None:
    text = "User-agent: *\r\nDisallow: /grüße\r\n"
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    site.pages["/robots.txt"] = (mark + text).encode(encoding)
    robots = fetch(site)
    assert not robots.allows(f"{site.url}/grüße") and not robots.allows(f"{site.url}/gr%C3%BC%C3%9Fe")
    assert robots.allows(f"{site.url}/other")


@pytest.mark.parametrize(
    "text",
    ["<!DOCTYPE html><title>User-agent: *\nDisallow: /\n</title>", "", "\x00\x01\x02", "\xff" * 100, "Disallow: /"],
)
def test_what_is_no_robots_txt_forbids_nothing(site: SiteServer, text: str) -> None:
    site.pages["/robots.txt"] = text
    robots = fetch(site)
    assert (robots.allows(f"{site.url}/a"), robots.problem) == (True, "")


def test_a_large_one_is_cut_at_the_end_of_a_line(site: SiteServer) -> None:
    """What is cut off may be half a rule, and half a rule forbids more than the whole."""
    start = "User-agent: *\nDisallow: /first\n"
    filling = "#" * (MAX_BYTES - len(start) - len("\nDisallow: /"))
    site.pages["/robots.txt"] = Page(f"{start}{filling}\nDisallow: /last\n", endless=True)
    robots = fetch(site)
    assert not robots.allows(f"{site.url}/first")
    assert robots.allows(f"{site.url}/last") and robots.allows(f"{site.url}/a")


def test_at_least_500_kib_are_read(site: SiteServer) -> None:
    line = "Disallow: /x\n"
    start = "User-agent: *\n" + "#" * (500 * 1024 - 14 - len(line) - 1) + "\n"
    site.pages["/robots.txt"] = start + line + "# more\n" * 100_000
    assert not fetch(site).allows(f"{site.url}/x")


def test_groups_that_would_fill_the_memory(site: SiteServer) -> None:
    robots = "".join(f"user-agent:{number}\n" for number in range(14_000))
    site.pages["/robots.txt"] = robots + "".join(f"disallow:/{number}\n" for number in range(16_000))
    began = time.monotonic()
    assert fetch(site).problem.endswith("has too many rules")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("asked", "kept"), [("0", 0), ("-1", 0), ("x", 0), ("nan", 0), ("60", 60), ("86400", 60)])
def test_crawl_delays(asked: str, kept: float) -> None:
    robots = Robots(f"User-agent: *\nCrawl-delay: {asked}", AGENT)
    assert robots.crawl_delay == kept
    assert bool(robots.note) == (asked == "86400")


def test_many_wildcards_take_no_time() -> None:
    robots = Robots("User-agent: *\nDisallow: /" + "*a" * 1000 + "$\n", AGENT)
    began = time.monotonic()
    robots.allows("http://example.org/" + "a" * 5000 + "b")
    assert time.monotonic() - began < 1
