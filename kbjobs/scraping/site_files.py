"""The files of a site that are fetched in addition to its pages: robots.txt and sitemaps."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.page_fetch import Fetcher
from kbjobs.scraping.parsing import ParseError
from kbjobs.scraping.robots import MAX_BYTES as MAX_BYTES_OF_ROBOTS
from kbjobs.scraping.robots import MAX_RULES, Robots, count_rules, decode_robots
from kbjobs.scraping.sitemaps import MAX_BYTES, MAX_URLS, Sitemap
from kbjobs.scraping.web_urls import without_password

MAX_FILES = 1000
"""Most sitemaps of an index that are fetched."""


async def fetch_robots(fetcher: Fetcher, url: str) -> Robots:
    """Fetch the robots.txt of a URL's scheme, host and port, even if it redirects to another host.

    If there is none (a status of 4xx, or endless redirects), everything is allowed. If it cannot be read (5xx, no
    answer), nothing is allowed (RFC 9309, 2.3.1). A 429 means "not now" rather than "none", so nothing is allowed.
    """
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/robots.txt"
    try:
        reply = await fetcher.get(place, max_bytes=MAX_BYTES_OF_ROBOTS, cuts=True)
    except FetchError as error:
        if error.cause in ("too many redirects", "redirect loop"):
            return Robots("", fetcher.user_agent)
        cause = "" if error.is_temporary else error.cause
        return Robots("", fetcher.user_agent, f"robots.txt cannot be read: {error.message}", cause)
    if reply.status == 429 or reply.status >= 500:
        return Robots("", fetcher.user_agent, f"robots.txt cannot be read: {place} answers {reply.status}")
    if reply.status != 200:
        return Robots("", fetcher.user_agent)
    text = decode_robots(reply)
    if count_rules(text) > MAX_RULES:
        return Robots("", fetcher.user_agent, f"robots.txt cannot be read: {place} has too many rules")
    try:
        robots: Robots = await fetcher.parser.ask("robots", text, fetcher.user_agent, size=len(text))
    except ParseError as error:
        return Robots(
            "", fetcher.user_agent, f"robots.txt cannot be read: {place}: {error}", "robots.txt cannot be read"
        )
    return robots


async def _fetch_sitemap(fetcher: Fetcher, url: str, may_ask: Callable[[str], bool], problems: list[str]) -> Sitemap:
    """Fetch a sitemap; if it cannot be read, add the reason to ``problems`` and return an empty one."""
    try:
        reply = await fetcher.get(url, is_allowed=may_ask, max_bytes=MAX_BYTES)
        if reply.status != 200:
            raise ValueError(f"the server answers {reply.status}")
        sitemap: Sitemap = await fetcher.parser.ask("sitemap", reply.body, size=len(reply.body))
        return sitemap
    except FetchError as error:
        problems.append(f"A sitemap cannot be read: {error.message}")
    except ValueError as error:
        problems.append(f"A sitemap cannot be read: {url}: {error}")
    return Sitemap()


async def find_urls(
    fetcher: Fetcher, url: str, is_allowed: Callable[[str], bool], max_pages: int
) -> tuple[list[tuple[str, str]], list[str]]:
    """List the pages of a sitemap, and of the sitemaps it lists, one level deep as the protocol says.

    Args:
        fetcher: sends the requests.
        url: the sitemap's address.
        is_allowed: whether a page is wanted; a sitemap on another host than ``url`` is requested only if it is allowed.
        max_pages: the largest number of pages.

    Returns:
        The pages, each once with the date of its last change; and the problems, one sentence each.
    """
    pages: dict[str, str] = {}
    problems: list[str] = []
    host = urlsplit(url).hostname

    def may_ask(other: str) -> bool:
        return urlsplit(other).hostname == host or is_allowed(other)

    async def read(place: str) -> Sitemap:
        sitemap = await _fetch_sitemap(fetcher, place, may_ask, problems)
        if sitemap.is_cut:
            problems.append(f"A sitemap has more than {MAX_URLS:,} entries, the rest was not read: {place}")
        for page, date in sitemap.urls:
            if len(pages) < max_pages and is_allowed(page):
                pages.setdefault(page, date)
        return sitemap

    first = await read(url)
    others = [other for other in dict.fromkeys(first.sitemaps) if may_ask(other) and other != url]
    problems += [f"A sitemap on another host is not read: {other}" for other in first.sitemaps if not may_ask(other)][
        :1
    ]
    if len(others) > MAX_FILES:
        problems.append(f"An index lists {len(others):,} sitemaps, {MAX_FILES:,} of them are read: {url}")
    for other in others[:MAX_FILES]:
        if len(pages) >= max_pages:
            break
        if (await read(other)).sitemaps:
            problems.append(f"An index inside an index is not followed: {other}")
    return list(pages.items()), [without_password(problem) for problem in problems]
