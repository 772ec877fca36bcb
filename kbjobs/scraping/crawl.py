"""The crawl: fetch what the frontier says, several at once, and commit it in the frontier's order.

Because commits keep that order, the same site gives the same frontier and the same files, however fast each page came
and however often the run was cut short.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from kbjobs.content.encoding import NotText, decode_page
from kbjobs.context import Context
from kbjobs.crashpoints import crash_point
from kbjobs.errors import KbjobsError
from kbjobs.scraping.addresses import Scope, normalise, site_of
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.fetching import Fetcher, Reply
from kbjobs.scraping.links import MOST_LINKS, PageLinks, read_links, read_style_links
from kbjobs.scraping.mediawiki.api import WikiApi
from kbjobs.scraping.mediawiki.reading import read_page
from kbjobs.scraping.robots import Robots, fetch_robots
from kbjobs.scraping.saving import HTML_TYPES, PAGE_TYPES, SUFFIXES, name_file, save, write_page
from kbjobs.scraping.waiting import LOOK, watched
from kbjobs.scraping.web_urls import host_of
from kbjobs.store.frontier import FAILED, GONE, QUEUED, SAME, SAVED, SKIPPED, Address, Fetched, Frontier

MOST_TRIES = 5
"""How often an address is tried that cannot be had for the moment."""

FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0
"""Seconds before the second try, doubled each time, and the most of it."""

MOST_FAILURES = 20
"""Fetches in a row that fail for want of an answer: then the site is down, and its addresses wait."""

CRAWLING = (0.0, 0.98)  # of the phase

FETCHES_A_PAGE = 10
"""Fetches that a page of the page limit may cost on average: a site may lead to errors without end."""

AT_ONCE = 16
"""Fetches at the same time."""

AT_ONCE_OF_WIKI = 4
"""Pages that a wiki is asked for at the same time: each is work for it (API:Etiquette)."""

FORBIDDEN = "robots.txt forbids it"
LEFT_OUT = "left out by --include or --exclude"  # of what was fetched before these were given


@dataclass(frozen=True, slots=True)
class CrawlOptions:
    """What is to be fetched: at most ``page_limit`` pages, so many links deep, a fetch each ``delay`` seconds."""

    page_limit: int
    max_depth: int
    delay: float
    follows_links: bool
    wants_assets: bool


@dataclass(slots=True)
class Tally:
    """What a run has done, of all its attempts that this process has seen."""

    fetched: int = 0
    saved: int = 0
    unchanged: int = 0
    failures_in_a_row: int = 0
    began: float = field(default_factory=time.monotonic)


class SiteDown(KbjobsError):
    """The site gives no answer any more. What is queued waits."""


class Crawl:
    """One run over a site.

    Args:
        context: progress, and the request to stop.
        frontier: its addresses.
        fetcher: what fetches.
        scope: which of them may be fetched.
        options: how many, and how fast.
        pages: the folder of the files.
        home_site: the site of the start, whose files need no folder of their own.
    """

    def __init__(
        self,
        context: Context,
        frontier: Frontier,
        fetcher: Fetcher,
        scope: Scope,
        options: CrawlOptions,
        pages: Path,
        home_site: str,
    ) -> None:
        self.tally = Tally()
        self._context, self._frontier, self._fetcher = context, frontier, fetcher
        self._scope, self._options, self._pages, self._home_site = scope, options, pages, home_site
        self._wiki: WikiApi | None = None
        self._at_once = AT_ONCE
        self._robots: dict[str, asyncio.Future[Robots]] = {}
        self._known: Reply | None = None
        self._last_had = ""
        self._reported = 0.0
        self._budget = 0
        self._fetches_left = FETCHES_A_PAGE * (options.page_limit + AT_ONCE)

    @property
    def has_room(self) -> bool:
        """Whether more pages are wanted."""
        return self._budget > 0 and self._fetches_left > 0

    def use_wiki(self, api: WikiApi) -> None:
        """Read the pages of a wiki through its API."""
        self._wiki, self._at_once = api, AT_ONCE_OF_WIKI

    def take(self, reply: Reply) -> None:
        """Take a page that was fetched already: its address is not asked for again."""
        self._known = reply

    async def run(self) -> None:
        """Fetch until the frontier is empty or the page limit is reached.

        Raises SiteDown where the site gives no answer any more, JobCancelled where the job is to stop.
        """
        counts = self._frontier.count()
        had = counts.of(SAVED) + counts.of(SAME) - self._frontier.count_moved()
        self._budget = self._options.page_limit - had
        flying: deque[tuple[Address, asyncio.Task[Reply | FetchError]]] = deque()
        try:
            while True:
                self._top_up(flying)
                if not flying:
                    if not await self._wait_for_work():
                        return
                    continue
                address, task = flying[0]
                done, _ = await asyncio.wait({task}, timeout=LOOK)
                self._report()
                if done:
                    flying.popleft()
                    try:
                        self._commit(address, task.result())
                    except SiteDown:
                        if not await self._still_answers(address.url):
                            raise
                        self.tally.failures_in_a_row = 0
                        self._commit(address, task.result())
                    crash_point("scrape.committed")
        finally:
            for _, task in flying:
                task.cancel()
            for _, task in flying:
                with suppress(asyncio.CancelledError):
                    await task

    # -- fetching ---------------------------------------------------------------------------------

    def _top_up(self, flying: deque[tuple[Address, asyncio.Task[Reply | FetchError]]]) -> None:
        """Start fetches until enough are under way. As many as the page limit may still need, and no more."""
        pages_in_flight = sum(not address.is_asset for address, _ in flying)
        room = min(self._at_once - len(flying), self._fetches_left)
        if room <= 0:
            return
        ids = [address.id for address, _ in flying]
        budget = self._budget - pages_in_flight
        for address in self._frontier.next(room, time.time(), self._options.wants_assets, ids):
            if not address.is_asset:
                if budget <= 0:
                    continue
                budget -= 1
            self._fetches_left -= 1
            flying.append((address, asyncio.create_task(self._fetch(address))))

    async def _wait_for_work(self) -> bool:
        """Wait until a queued address may be tried again; False where there is none, or no more are wanted."""
        if self._fetches_left <= 0 or (self._budget <= 0 and not self._options.wants_assets):
            return False
        found = self._frontier.next(1, float("inf"), self._options.wants_assets)
        if not found or (self._budget <= 0 and not found[0].is_asset):
            return False
        self._report()
        await asyncio.sleep(LOOK)
        return True

    async def _fetch(self, address: Address) -> Reply | FetchError:
        host = host_of(address.url)
        try:
            robots = await self.robots_of(address.url)
            if robots.problem:
                # A subdomain may be none for good. Without the site itself all waits.
                lasting = "" if site_of(address.url) in self._scope.hosts else robots.cause
                cause = lasting or "robots.txt cannot be read"
                return FetchError(address.url, cause, robots.problem, is_temporary=not lasting)
            if not robots.allows(address.url):
                return FetchError(address.url, FORBIDDEN)
            if (address.depth or address.page) and not address.is_asset and not self._scope.has(address.url):
                return FetchError(address.url, LEFT_OUT)
            if address.page and self._wiki is not None:
                return await read_page(self._wiki, address)
            if self._known is not None and address.url == (self._known.moved_from or (self._known.url,))[0]:
                reply, self._known = self._known, None
                return reply

            def may_follow(target: str) -> bool:
                if host_of(target) == host and not robots.allows(target):
                    raise FetchError(target, FORBIDDEN)
                return self._scope.is_on_site(target)

            # A page that somebody has taken away is fetched whole.
            is_there = bool(address.file) and (self._pages / address.file).exists()
            known = (address.etag, address.last_modified) if is_there else ("", "")
            reply = await self._fetcher.get(address.url, *known, may_follow)
        except FetchError as error:
            return error
        if reply.status in (429, 503):
            self._fetcher.pace.slow_down(host, reply.headers.get("retry-after", ""))
        else:
            self._fetcher.pace.recovered(host)
        return reply

    async def robots_of(self, url: str) -> Robots:
        """The rules of an address's host, fetched once a run; what it asks for of the pace is kept from then on."""
        host = host_of(url)
        if host not in self._robots:
            self._robots[host] = asyncio.ensure_future(fetch_robots(self._fetcher, url))
        robots = await self._robots[host]
        if robots.problem and not robots.cause:
            self._robots.pop(host, None)  # the next address asks again; several may have waited for this answer
        self._fetcher.pace.set_crawl_delay(host, robots.crawl_delay)
        return robots

    async def _still_answers(self, url: str) -> bool:
        """Whether the site gives what it gave last, or its robots.txt: then it is only some pages that it does not."""
        place = self._last_had or urljoin(url, "/robots.txt")
        try:
            if self._wiki is not None:
                await watched(self._context, self._wiki.ask(action="query", meta="siteinfo"))
            reply = await watched(self._context, self._fetcher.get(place, most=0, cuts=True))
        except FetchError:
            return False
        return reply.status < 500 and reply.status != 429

    # -- committing -------------------------------------------------------------------------------

    def _commit(self, address: Address, reply: Reply | FetchError) -> None:
        if isinstance(reply, FetchError):
            self._commit_failure(address, reply.cause, reply.is_temporary)
        elif reply.status == 304 and address.file:
            self._count(address, is_saved=False)
            # What it led to was queued when it was read, and is fetched again in this run as it is.
            self._frontier.put(self._as_before(address))
        elif 200 <= reply.status < 300:
            self._commit_page(address, reply)
        elif reply.status in (404, 410):
            self.tally.failures_in_a_row = 0
            self._frontier.put(Fetched(address.id, GONE, str(reply.status), address.file))
        else:
            self._commit_failure(
                address, f"HTTP {reply.status}", reply.status in (408, 425, 429) or reply.status >= 500
            )

    def _commit_failure(self, address: Address, cause: str, is_temporary: bool) -> None:
        if is_temporary:
            self.tally.failures_in_a_row += 1
            is_last = address.tries + 1 >= MOST_TRIES
            # Few that wait may all have had their tries before so many have failed.
            if self.tally.failures_in_a_row >= (MOST_TRIES if is_last else MOST_FAILURES):
                raise SiteDown(
                    f"{self._home_site} gives no answer any more ({cause}); the addresses not yet fetched are kept",
                    "Once it answers again, go on with kbjobs resume JOB, or run the same again.",
                )
            if not is_last:
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2**address.tries)
                self._frontier.put_off(address.id, cause, time.time() + wait)
                return
        state = SKIPPED if cause in (FORBIDDEN, LEFT_OUT, "leaves the site") else FAILED
        # What was had before stays, and is asked for again by the next run.
        kept = self._as_before(address)
        self._frontier.put(Fetched(address.id, state, cause, kept.file, kept.etag, kept.last_modified, kept.body_hash))

    def _commit_page(self, address: Address, reply: Reply) -> None:
        url = normalise(reply.url) or address.url
        if url != address.url and self._redirect(address, url):
            return
        kind = reply.media_type or "text/html"
        if kind not in (SUFFIXES if address.is_asset else PAGE_TYPES):
            self._frontier.put(Fetched(address.id, SKIPPED, f"type {kind}", address.file))
            return
        body_hash = hashlib.sha256(reply.body).hexdigest()
        text, found = self._read(reply, kind, url)
        if not address.is_asset and not (text if kind in HTML_TYPES else reply.body).strip():
            # What was had before is not given up for it.
            self._commit_failure(address, "binary content" if reply.body.strip() else "empty page", False)
            return
        links = self._links(found) if not address.page and address.depth < self._options.max_depth else []
        deeper = address.depth + 1
        if not address.is_asset and not found.may_keep:
            self._frontier.put(Fetched(address.id, SKIPPED, "noindex", address.file), links, (), deeper)
            return
        if not address.is_asset and self._is_another(address, found.canonical, body_hash):
            self._budget -= 1
            self._frontier.put(Fetched(address.id, SAME, "", address.file), links, (), deeper)
            return
        file = address.file or name_file(
            address.url, kind, self._home_site, lambda place: self._frontier.has_file(place, address.id), reply.named
        )
        is_saved = body_hash != address.body_hash or not (self._pages / file).exists()
        if is_saved:
            data = write_page(text, url).encode("utf-8", "replace") if kind in HTML_TYPES else reply.body
            save(self._pages / file, data)
            crash_point("scrape.saved")
        self._count(address, is_saved)
        etag, modified = reply.headers.get("etag", ""), reply.headers.get("last-modified", "")
        assets = [one for one in found.assets if self._scope.is_on_site(one)] if self._options.wants_assets else []
        self._frontier.put(Fetched(address.id, SAVED, "", file, etag, modified, body_hash), links, assets, deeper)

    def _read(self, reply: Reply, kind: str, url: str) -> tuple[str, PageLinks]:
        """The text of a page and its addresses; those of a style sheet are assets too."""
        if kind in HTML_TYPES or kind == "text/css":
            with suppress(NotText):
                text = decode_page(reply.body, reply.charset)
                if kind == "text/css":
                    return text, PageLinks(assets=read_style_links(text, url))
                found = read_links(text, url)
                if len(found.links) == MOST_LINKS:
                    self._context.log.info("%s: only its first %d links are followed", url, MOST_LINKS)
                return text, found
        return "", PageLinks()

    def _redirect(self, address: Address, url: str) -> bool:
        """Note that an address is another one's; False where that is unknown and what came is taken for this one."""
        if not self._scope.has(url):
            self._frontier.put(Fetched(address.id, SKIPPED, "leaves the site", address.file))
            return True
        pages, assets = ((), (url,)) if address.is_asset else ((url,), ())
        self._frontier.put(Fetched(address.id, SAME, f"moved to {url}", address.file), pages, assets, address.depth)
        return True

    def _is_another(self, address: Address, canonical: str, body_hash: str) -> bool:
        """Whether a page is another address's: by its body, or by a canonical link that does not lie."""
        if self._frontier.find_body(body_hash, address.id) is not None:
            return True
        if not canonical or canonical == address.url or not self._scope.has(canonical):
            return False
        known = self._frontier.find(canonical)
        if known is None:
            # It may lie: the page is kept. Where the address has the same page it is told by its body.
            return False
        _, state, other = known
        return state == SAVED and other == body_hash

    def _links(self, found: PageLinks) -> list[str]:
        if not (self._options.follows_links and found.may_follow):
            return []
        return [url for url in found.links if self._scope.has(url)]

    def _as_before(self, address: Address) -> Fetched:
        state = SAVED if address.file else QUEUED
        return Fetched(address.id, state, "", address.file, address.etag, address.last_modified, address.body_hash)

    def _count(self, address: Address, is_saved: bool) -> None:
        self.tally.fetched += 1
        self.tally.failures_in_a_row = 0
        self._last_had = address.url
        if not address.is_asset:
            self._budget -= 1
            self.tally.saved += is_saved
            self.tally.unchanged += not is_saved
        if is_saved:
            self._context.saved(1)

    def _report(self) -> None:
        self._context.check()
        now = time.monotonic()
        if now < self._reported + LOOK:
            return
        pages = self._frontier.count()
        # Counting a large frontier takes its time: a twentieth of all at most.
        self._reported = now + 20 * (time.monotonic() - now)
        done = pages.of(SAVED) + pages.of(SAME)
        queued, failed = pages.of(QUEUED), pages.of(FAILED)
        rate = self.tally.fetched / max(0.001, now - self.tally.began)
        told = f"{done:,} fetched, {queued:,} queued, {failed:,} failed, {rate:.1f}/s"
        self._context.progress(done, min(self._options.page_limit, done + queued), "pages", told, CRAWLING)
