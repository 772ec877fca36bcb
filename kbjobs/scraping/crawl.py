"""The crawl: fetch the frontier's addresses, several at once, and commit them in the frontier's order.

Because commits keep that order, the same site gives the same frontier and the same files, however fast each page
arrives and however often the run is interrupted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kbjobs.context import Context
from kbjobs.errors import KbjobsError
from kbjobs.formatting import duration
from kbjobs.scraping.crawl_forecast import CrawlForecast
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.job_wait import LOOK
from kbjobs.scraping.links import MAX_LINKS, PageLinks
from kbjobs.scraping.mediawiki.wiki_api import WikiApi
from kbjobs.scraping.page_fetch import LEAVES, Fetcher
from kbjobs.scraping.page_saving import name_file, save
from kbjobs.scraping.parsing_service import ParsedPage
from kbjobs.scraping.site_scope import SiteScope
from kbjobs.scraping.visit import FORBIDDEN, LEFT_OUT, Arrived, Fetch, Visitor
from kbjobs.store.frontier import FAILED, GONE, QUEUED, SAME, SAVED, SKIPPED, Address, Fetched, Frontier
from kbjobs.system.crashpoints import crash_point

if TYPE_CHECKING:
    from kbjobs.scraping.rendering.site_rendering import SiteRendering

MAX_TRIES = 5
"""How often an address is tried that fails temporarily."""

FIRST_WAIT, MAX_WAIT = 2.0, 300.0
"""Seconds before the second try, doubled each time, and their maximum."""

MAX_FAILURES = 20
"""Temporary failures in a row after which the site counts as down, and its addresses wait."""

CRAWLING = (0.0, 0.98)  # the crawl's part of the phase

FETCHES_A_PAGE = 10
"""Most fetches on average per page of the page limit, because a site may lead to errors without end."""

AT_ONCE = 16
"""Fetches at the same time."""

AT_ONCE_OF_WIKI = 4
"""Pages requested from a wiki at the same time, because each is work for it (API:Etiquette)."""


@dataclass(frozen=True, slots=True)
class CrawlOptions:
    """What a crawl fetches: at most ``page_limit`` pages, ``max_depth`` links deep, one every ``delay`` seconds."""

    page_limit: int
    max_depth: int
    delay: float
    follows_links: bool
    wants_assets: bool


@dataclass(slots=True)
class Tally:
    """Counts of a run since this process began it."""

    fetched: int = 0
    saved: int = 0
    unchanged: int = 0
    failures_in_a_row: int = 0
    began: float = field(default_factory=time.monotonic)


class SiteDown(KbjobsError):
    """The site no longer answers. Queued addresses wait."""


class Crawl:
    """One run over a site.

    Args:
        context: takes progress, and tells when to stop.
        frontier: the site's addresses.
        fetcher: sends the requests.
        scope: which addresses may be fetched.
        options: how many pages to fetch, and how fast.
        home_site: the site of the start address, whose files need no folder of their own.
    """

    def __init__(
        self,
        context: Context,
        frontier: Frontier,
        fetcher: Fetcher,
        scope: SiteScope,
        options: CrawlOptions,
        home_site: str,
    ) -> None:
        self.tally = Tally()
        self.context, self.frontier, self.fetcher, self.scope, self.options = context, frontier, fetcher, scope, options
        self.visitor = Visitor(context, fetcher, scope)
        self.rendering: SiteRendering | None = None
        """What renders the pages of the site, if they may be rendered."""
        self._pages, self._home_site = context.source.pages, home_site
        self._at_once = AT_ONCE
        self._reported = 0.0
        self._forecast = CrawlForecast(options.follows_links)
        self._budget = 0
        self._fetches_left = FETCHES_A_PAGE * (options.page_limit + AT_ONCE)

    @property
    def has_room(self) -> bool:
        """Whether more pages are wanted."""
        return self._budget > 0 and self._fetches_left > 0

    def use_wiki(self, api: WikiApi) -> None:
        """Read the pages of a wiki through its API."""
        self.visitor.wiki, self._at_once = api, AT_ONCE_OF_WIKI

    async def run(self) -> None:
        """Fetch until the frontier is empty or the page limit is reached.

        Raises SiteDown if the site stops answering, JobCancelled if the job was asked to stop.
        """
        counts = self.frontier.count()
        had = counts.of(SAVED) + counts.of(SAME) - self.frontier.count_moved()
        self._budget = self.options.page_limit - had
        flying: deque[tuple[Address, asyncio.Task[Fetch]]] = deque()
        try:
            while True:
                self._top_up(flying)
                if not flying:
                    if not await self._wait_for_work():
                        self._reported = 0.0  # report the end, however recent the last report is
                        self._report(0)
                        return
                    continue
                address, task = flying[0]
                done, _ = await asyncio.wait({task}, timeout=LOOK)
                self._report(sum(each.done() for one, each in flying if not one.is_asset))
                if done:
                    flying.popleft()
                    try:
                        self._commit(address, task.result())
                    except SiteDown:
                        if not await self.visitor.still_answers(address.url):
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

    def _top_up(self, flying: deque[tuple[Address, asyncio.Task[Fetch]]]) -> None:
        """Start fetches until enough are under way, but no more pages than the page limit allows."""
        pages_in_flight = sum(not address.is_asset for address, _ in flying)
        room = min(self._at_once - len(flying), self._fetches_left)
        if room <= 0:
            return
        ids = [address.id for address, _ in flying]
        budget = self._budget - pages_in_flight
        for address in self.frontier.next(room, time.time(), self.options.wants_assets, ids):
            if not address.is_asset:
                if budget <= 0:
                    continue
                budget -= 1
            self._fetches_left -= 1
            flying.append((address, asyncio.create_task(self.visitor.fetch(address))))

    async def _wait_for_work(self) -> bool:
        """Wait a moment for a queued address to become due; False if none is queued, or no more are wanted."""
        if self._fetches_left <= 0 or (self._budget <= 0 and not self.options.wants_assets):
            return False
        found = self.frontier.next(1, float("inf"), self.options.wants_assets)
        if not found or (self._budget <= 0 and not found[0].is_asset):
            return False
        self._report(0, is_waiting=True)
        await asyncio.sleep(LOOK)
        return True

    # -- committing -------------------------------------------------------------------------------

    def _commit(self, address: Address, arrived: Fetch) -> None:
        if isinstance(arrived, FetchError):
            self._commit_failure(address, arrived.cause, arrived.is_temporary)
            return
        reply = arrived.reply
        if reply.status == 304 and address.file:
            self._count(address, is_saved=False)
            # The addresses it leads to were queued when it was read, and this run fetches them again, too.
            self.frontier.put(self._as_before(address))
        elif 200 <= reply.status < 300:
            self._commit_page(address, arrived)
        elif reply.status in (404, 410):
            self.tally.failures_in_a_row = 0
            self.frontier.put(Fetched(address.id, GONE, str(reply.status), address.file))
        else:
            self._commit_failure(
                address, f"HTTP {reply.status}", reply.status in (408, 425, 429) or reply.status >= 500
            )

    def _commit_failure(self, address: Address, cause: str, is_temporary: bool) -> None:
        if is_temporary:
            self.tally.failures_in_a_row += 1
            is_last = address.tries + 1 >= MAX_TRIES
            # A few addresses may use up their tries before there are MAX_FAILURES failures.
            if self.tally.failures_in_a_row >= (MAX_TRIES if is_last else MAX_FAILURES):
                raise SiteDown(
                    f"{self._home_site} no longer answers ({cause}); the addresses not yet fetched are kept",
                    "Once it answers again, go on with kbjobs resume JOB, or run the same again.",
                )
            if not is_last:
                wait = min(MAX_WAIT, FIRST_WAIT * 2**address.tries)
                self.frontier.put_off(address.id, cause, time.time() + wait)
                return
        state = SKIPPED if cause in (FORBIDDEN, LEFT_OUT, LEAVES) else FAILED
        # An earlier file stays, and the next run asks for it again.
        kept = self._as_before(address)
        self.frontier.put(Fetched(address.id, state, cause, kept.file, kept.etag, kept.last_modified, kept.body_hash))

    def _commit_page(self, address: Address, arrived: Arrived) -> None:
        """Commit an answer as a redirect, as not keepable, as a failure, or by its content."""
        page = arrived.page
        if arrived.url != address.url:
            self._redirect(address, arrived.url)
            return
        if page is None:
            self.frontier.put(Fetched(address.id, SKIPPED, f"type {arrived.kind}", address.file))
            return
        if len(page.found.links) == MAX_LINKS:
            self.context.log.info("%s: only its first %d links are followed", arrived.url, MAX_LINKS)
        if not address.is_asset and page.is_empty:
            # An earlier file is kept.
            self._commit_failure(address, "binary content" if arrived.reply.body.strip() else "empty page", False)
        elif not address.is_asset and page.found.moved_to not in ("", address.url):
            self._redirect(address, page.found.moved_to)
        else:
            self._commit_content(address, arrived, page)

    def _commit_content(self, address: Address, arrived: Arrived, page: ParsedPage) -> None:
        """Commit a page with its links: as not to be kept, as the same as another address's page, or with its file."""
        found, body_hash = page.found, arrived.body_hash
        links, deeper = self._links(address, found), address.depth + 1
        if not address.is_asset and not found.may_keep:
            self.frontier.put(Fetched(address.id, SKIPPED, "noindex", address.file), links, (), deeper)
            return
        if not address.is_asset and self._is_another(address, found.canonical, body_hash):
            self._budget -= 1
            self.frontier.put(Fetched(address.id, SAME, "", address.file), links, (), deeper)
            return
        file = self._save(address, arrived, page)
        self._count(address, arrived.is_new)
        etag, modified = arrived.reply.headers.get("etag", ""), arrived.reply.headers.get("last-modified", "")
        assets = [one for one in found.assets if self.scope.is_on_site(one)] if self.options.wants_assets else []
        canonical = found.canonical
        if canonical in ("", address.url) or not self.scope.has(canonical):
            canonical = ""
        fetched = Fetched(address.id, SAVED, "", file, etag, modified, body_hash, canonical)
        self.frontier.put(fetched, [*links, *filter(None, [canonical])], assets, deeper)

    def _save(self, address: Address, arrived: Arrived, page: ParsedPage) -> str:
        """Write a page to its file if it differs from it; returns the file's name."""
        reply = arrived.reply
        file = address.file or name_file(
            address.url,
            arrived.kind,
            self._home_site,
            lambda place: self.frontier.has_file(place, address.id),
            reply.named,
        )
        if arrived.is_new:
            save(self._pages / file, reply.body if page.copy is None else page.copy)
            crash_point("scrape.saved")
        return file

    def _redirect(self, address: Address, url: str) -> None:
        """Record that an address leads to another one."""
        if not self.scope.has(url):
            self.frontier.put(Fetched(address.id, SKIPPED, LEAVES, address.file))
            return
        pages, assets = ((), (url,)) if address.is_asset else ((url,), ())
        self.frontier.put(Fetched(address.id, SAME, f"moved to {url}", address.file), pages, assets, address.depth)

    def _is_another(self, address: Address, canonical: str, body_hash: str) -> bool:
        """Whether another address has the same page: by its body, or by a canonical link that is proven right."""
        if self.frontier.find_body(body_hash, address.id) is not None:
            return True
        if not canonical or canonical == address.url or not self.scope.has(canonical):
            return False
        known = self.frontier.find(canonical)
        if known is None:
            # The link may be wrong, so the page is kept. If the address has the same page, the body will show it.
            return False
        _, state, other = known
        return state == SAVED and other == body_hash

    def _links(self, address: Address, found: PageLinks) -> list[str]:
        """The links of a page that the crawl follows."""
        may_lead = not address.page and address.depth < self.options.max_depth
        if not (may_lead and self.options.follows_links and found.may_follow):
            return []
        return [url for url in found.links if self.scope.has(url)]

    def _as_before(self, address: Address) -> Fetched:
        state = SAVED if address.file else QUEUED
        return Fetched(address.id, state, "", address.file, address.etag, address.last_modified, address.body_hash)

    def _count(self, address: Address, is_saved: bool) -> None:
        self.tally.fetched += 1
        self.tally.failures_in_a_row = 0
        self.visitor.last_had = address.url
        if not address.is_asset:
            self._budget -= 1
            self.tally.saved += is_saved
            self.tally.unchanged += not is_saved
        if is_saved:
            self.context.saved(1)

    def _report(self, in_hand: int, *, is_waiting: bool = False) -> None:
        """Report progress. Pages ``in_hand`` have arrived, and wait until those before them are committed."""
        self.context.check()
        now = time.monotonic()
        if now < self._reported + LOOK:
            return
        pages = self.frontier.count()
        # Counting a large frontier is slow: it may take at most a twentieth of the time.
        self._reported = now + 20 * (time.monotonic() - now)
        done, queued, failed = pages.of(SAVED) + pages.of(SAME) + in_hand, pages.of(QUEUED), pages.of(FAILED)
        queued = max(0, queued - in_hand)
        self._forecast.note(pages.total - pages.of(QUEUED), pages.total)
        total = min(self.options.page_limit, done + self._forecast.expect(queued, in_hand))
        rate = self.tally.fetched / max(0.001, now - self.tally.began)
        message = f"{done:,} fetched, {queued:,} queued, {failed:,} failed, {rate:.1f}/s"
        if is_waiting:
            moment = self.frontier.next_moment()
            message += f"; the next try in {duration(max(0.0, (moment or 0.0) - time.time()))}"
        self.context.progress(done, round(total), "pages", message, CRAWLING, eta_matters=not is_waiting)
