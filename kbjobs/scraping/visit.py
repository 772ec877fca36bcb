"""A visit to one address: the check of robots.txt, the request, and the parsing of its page."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urljoin

from kbjobs.context import Context
from kbjobs.errors import JobInterrupted
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.job_wait import watched
from kbjobs.scraping.mediawiki.wiki_api import WikiApi
from kbjobs.scraping.mediawiki.wiki_reading import read_page
from kbjobs.scraping.page_fetch import LEAVES, Fetcher
from kbjobs.scraping.page_saving import HTML_TYPES, PAGE_TYPES, SUFFIXES
from kbjobs.scraping.parsing import ParseError
from kbjobs.scraping.parsing_service import ParsedPage
from kbjobs.scraping.reply import Reply
from kbjobs.scraping.robots import Robots
from kbjobs.scraping.site_files import fetch_robots
from kbjobs.scraping.site_login import asks_for_password, secret_name
from kbjobs.scraping.site_scope import SiteScope, normalise_route, site_of
from kbjobs.scraping.web_urls import host_of
from kbjobs.store.frontier import Address

FORBIDDEN = "robots.txt forbids it"
LEFT_OUT = "left out by --include or --exclude"  # for addresses fetched before these options were given


@dataclass(frozen=True, slots=True)
class Arrived:
    """A reply and its parsed page, None if it is not a wanted page.

    ``is_new``: it differs from the saved file.
    """

    reply: Reply
    url: str
    kind: str
    body_hash: str = ""
    is_new: bool = True
    page: ParsedPage | None = None


Fetch = Arrived | FetchError


class Visitor:
    """Fetches addresses, and has their pages parsed.

    Args:
        context: the job's context.
        fetcher: sends the requests.
        scope: which addresses may be fetched.
    """

    def __init__(self, context: Context, fetcher: Fetcher, scope: SiteScope) -> None:
        self._context, self._fetcher, self._scope, self._pages = context, fetcher, scope, context.source.pages
        self.wiki: WikiApi | None = None
        """The API that pages of a wiki are read through."""
        self.known: Reply | None = None
        """A page that was fetched already, so its address is not requested again."""
        self.last_had = ""
        """The address that was last fetched successfully."""
        self.render: Callable[[Reply], Awaitable[Reply]] | None = None
        """Turns a page as received into the page that is saved, if pages may be rendered."""
        self.start = ""
        """The start page, which tells whether a login is still valid."""
        self._robots: dict[str, asyncio.Future[Robots]] = {}

    async def fetch(self, address: Address) -> Fetch:
        """Fetch and parse an address."""
        reply = await self._ask(address)
        if self._fetcher.login is not None and not address.is_asset and (lost := await self._find_logged_out(reply)):
            return lost
        if isinstance(reply, FetchError):
            return reply
        url, kind = normalise_route(reply.url) or address.url, reply.media_type or "text/html"
        kinds = SUFFIXES if address.is_asset else PAGE_TYPES
        if not 200 <= reply.status < 300 or url != address.url or kind not in kinds:
            return Arrived(reply, url, kind)
        if self.render is not None and kind in HTML_TYPES and not address.page and not address.is_asset:
            try:
                reply = await self.render(reply)
            except FetchError as error:
                return error
            if self._fetcher.login is not None and (lost := await self._find_logged_out(reply)):
                return lost
        body_hash = hashlib.sha256(reply.body).hexdigest()
        is_new = body_hash != address.body_hash or not (self._pages / address.file).is_file()
        try:
            page = await self._fetcher.parser.ask("page", reply, kind, url, is_new, size=len(reply.body))
        except ParseError as error:
            return FetchError(address.url, "takes too long to read" if error.is_late else "cannot be read", str(error))
        return Arrived(reply, url, kind, body_hash, is_new, page)

    async def _ask(self, address: Address) -> Reply | FetchError:
        host = host_of(address.url)
        try:
            robots = await self.robots_of(address.url)
            if robots.problem:
                # A subdomain may be unreachable for good. If it is the site itself, all addresses wait.
                lasting = "" if site_of(address.url) in self._scope.hosts else robots.cause
                cause = lasting or "robots.txt cannot be read"
                return FetchError(address.url, cause, robots.problem, is_temporary=not lasting)
            if not robots.allows(address.url):
                return FetchError(address.url, FORBIDDEN)
            if (address.depth or address.page) and not address.is_asset and not self._scope.has(address.url):
                return FetchError(address.url, LEFT_OUT)
            if address.page and self.wiki is not None:
                return await read_page(self.wiki, address)
            if self.known is not None and address.url == (self.known.moved_from or (self.known.url,))[0]:
                reply, self.known = self.known, None
                return reply

            def may_follow(target: str) -> bool:
                if host_of(target) == host and not robots.allows(target):
                    raise FetchError(target, FORBIDDEN)
                return self._scope.is_on_site(target)

            # If somebody removed the saved file, the page is downloaded again even if it is unchanged.
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

    async def _find_logged_out(self, reply: Reply | FetchError) -> FetchError | None:
        """Whether a site answers with a login form, a refusal or another site although a login was sent.

        Raises:
            JobInterrupted: the site no longer accepts the login.
        """
        if site_of(reply.url) != site_of(self.start) or not _is_logged_out(reply):
            return None
        try:
            first: Reply | FetchError = await self._fetcher.get(self.start, is_allowed=self._scope.is_on_site)
        except FetchError as error:
            first = error
        # Some pages ask logged-in people for their password, too: it is the start page that tells.
        if _is_logged_out(first) or (isinstance(first, Reply) and first.url == reply.url):
            raise JobInterrupted(
                f"{site_of(self.start)} no longer accepts the login",
                "Log in with a browser and export its cookies again, or set the secret anew:"
                f" kbjobs config set-secret {secret_name(self._context.source.id)}. Then kbjobs resume"
                f" {self._context.job_id} goes on where it was.",
            )
        return reply if isinstance(reply, FetchError) else FetchError(reply.url, "asks for a login")

    async def robots_of(self, url: str) -> Robots:
        """The rules of an address's host, fetched once per run; its crawl delay is obeyed from then on."""
        host = host_of(url)
        if host not in self._robots:
            self._robots[host] = asyncio.ensure_future(fetch_robots(self._fetcher, url))
        robots = await self._robots[host]
        if robots.problem and not robots.cause:
            self._robots.pop(host, None)  # the next address asks again; several may have waited for this answer
        self._fetcher.pace.set_crawl_delay(host, robots.crawl_delay)
        return robots

    async def still_answers(self, url: str) -> bool:
        """Whether the site still answers for the last fetched page, or its robots.txt; if so, only some pages fail."""
        place = self.last_had or urljoin(url, "/robots.txt")
        try:
            if self.wiki is not None:
                await watched(self._context, self.wiki.ask(action="query", meta="siteinfo"))
            reply = await watched(self._context, self._fetcher.get(place, max_bytes=0, cuts=True))
        except FetchError:
            return False
        return reply.status < 500 and reply.status != 429


def _is_logged_out(reply: Reply | FetchError) -> bool:
    """Whether a site refuses a request, sends it to another site, or answers with a page that asks for a password."""
    if isinstance(reply, FetchError):
        return reply.cause == LEAVES
    return reply.status in (401, 403) or (reply.media_type in HTML_TYPES and asks_for_password(reply.body))
