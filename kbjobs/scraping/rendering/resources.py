"""The files that pages ask for while they are rendered, fetched like pages: by robots.txt, throttle and guard.

Scripts and styles are the same on all pages of a site, so they are kept for the job, and requested once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.page_fetch import REDIRECTS, Fetcher, Question, find_target
from kbjobs.scraping.reply import Reply
from kbjobs.scraping.robots import Robots
from kbjobs.scraping.site_scope import SiteScope
from kbjobs.scraping.web_urls import host_of, is_web_url

MAX_REDIRECTS = 5
MAX_FILE = 16 * 2**20
"""Bytes of one file."""
MAX_KEPT = 64 * 2**20
"""Bytes of files that are kept for the next pages."""

KEPT = frozenset({"script", "stylesheet"})
"""The kinds of files that are kept, as Playwright names them."""

_NOT_SENT = (
    "accept-encoding", "connection", "content-length", "cookie", "expect", "host", "if-", "keep-alive", "proxy-",
    "range", "sec-", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "via", ":",
)  # fmt: skip
"""Beginnings of names of headers that the worker decides about."""
MAX_HEADERS = 40
MAX_HEADER = 4096


class ResourceRefused(Exception):
    """A page may not ask for this. The message says why."""


@dataclass(eq=False)
class Pending:
    """A request under way. ``is_queued``: it still waits for its host's turn, which is not the page's fault."""

    task: asyncio.Task[Reply]
    is_queued: bool = True


class Resources:
    """Fetches what pages ask for.

    Args:
        fetcher: sends the requests.
        scope: the addresses of the site.
        robots_of: finds the robots.txt of an address.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        scope: SiteScope,
        robots_of: Callable[[str], Awaitable[Robots]],
    ) -> None:
        self._fetcher, self._scope, self._robots_of = fetcher, scope, robots_of
        self._kept: OrderedDict[str, Reply] = OrderedDict()
        self._kept_bytes = 0
        self._pending: dict[str, Pending] = {}
        self._all: set[asyncio.Task[Reply]] = set()

    def is_own(self, url: str) -> bool:
        """Whether an address belongs to the site."""
        return self._scope.is_on_site(url)

    def check(self, question: Question) -> None:
        """Raise ResourceRefused if a request may not be sent at all, whatever robots.txt says."""
        if not is_web_url(question.url):
            raise ResourceRefused("neither http nor https")
        is_own = self.is_own(question.url)
        if question.method not in ("GET", "POST") or (question.method == "POST" and not is_own):
            raise ResourceRefused(f"{question.method} to {host_of(question.url)}")
        # The user named the site, and not what else listens on its machine.
        if (urlsplit(question.url).hostname or "").lower() in self._fetcher.guard.private_hosts and not is_own:
            raise ResourceRefused("private address")

    def start(self, question: Question, kind: str) -> Pending:
        """Start a request, or join one for the same file.

        Args:
            question: the request, which was checked.
            kind: what it is for, as Playwright names it.
        """
        is_kept = kind in KEPT and question.method == "GET"
        if is_kept and (known := self._pending.get(question.url)) is not None:
            return known
        # The callback names the entry that is made after it.
        made: list[Pending] = []

        def mark_turn() -> None:
            made[0].is_queued = False

        task = asyncio.create_task(self._fetch(replace(question, on_turn=mark_turn), is_kept))
        pending = Pending(task)
        made.append(pending)
        self._all.add(task)
        task.add_done_callback(self._all.discard)
        if is_kept:
            self._pending[question.url] = pending
            task.add_done_callback(lambda _: self._pending.pop(question.url, None))
        # A page that is closed takes no result, and an error that nobody takes would be logged as a defect.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return pending

    async def close(self) -> None:
        """Give up the requests under way."""
        for task in list(self._all):
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)

    async def _fetch(self, question: Question, is_kept: bool) -> Reply:
        if is_kept and (kept := self._kept.get(question.url)) is not None:
            self._kept.move_to_end(question.url)
            return kept
        asked = question
        for _ in range(MAX_REDIRECTS + 1):
            self.check(asked)
            robots = await self._robots_of(asked.url)
            if not robots.allows(asked.url):
                raise ResourceRefused(robots.problem or "robots.txt forbids it")
            reply = await self._fetcher.ask(asked, max_bytes=MAX_FILE)
            self._slow_down(reply)
            location = reply.headers.get("location", "")
            if reply.status not in REDIRECTS or not location:
                if is_kept and reply.status == 200:
                    self._keep(question.url, reply)
                return reply
            # 307 and 308 would repeat a POST elsewhere, which no page needs to show its text.
            if asked.method != "GET" and reply.status in (307, 308):
                raise ResourceRefused(f"{asked.method} is redirected")
            target = find_target_of(asked.url, location)
            asked = replace(asked, url=target, method="GET", body=b"", headers=_on_redirect(asked, target))
        raise FetchError(question.url, "too many redirects", f"more than {MAX_REDIRECTS}")

    def _slow_down(self, reply: Reply) -> None:
        if reply.status in (429, 503):
            self._fetcher.pace.slow_down(host_of(reply.url), reply.headers.get("retry-after", ""))

    def _keep(self, url: str, reply: Reply) -> None:
        self._kept[url] = reply
        self._kept_bytes += len(reply.body)
        while self._kept_bytes > MAX_KEPT:
            _, old = self._kept.popitem(last=False)
            self._kept_bytes -= len(old.body)


def find_target_of(url: str, location: str) -> str:
    """The target of a redirect, as :func:`kbjobs.scraping.page_fetch.find_target`."""
    import httpx

    return find_target(httpx.URL(url), location)


def choose_headers(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers of a script's request that are sent on. Cookies are those of the job, as with any page."""
    found = (
        (name, value)
        for name, value in headers.items()
        if not name.lower().startswith(_NOT_SENT) and len(value) <= MAX_HEADER and value.isascii()
        and value.isprintable()
    )  # fmt: skip
    return tuple(found)[:MAX_HEADERS]


def _on_redirect(asked: Question, target: str) -> tuple[tuple[str, str], ...]:
    """The headers that go on to the target of a redirect: to another host none that a script has set."""
    is_same = host_of(asked.url) == host_of(target)
    dropped = ("content-type",) if is_same else ("authorization", "content-type", "origin", "x-")
    return tuple(one for one in asked.headers if not one[0].lower().startswith(dropped))
