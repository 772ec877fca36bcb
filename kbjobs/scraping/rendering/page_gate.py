"""The gate between one rendered page and the network: each of its requests is decided here, and answered from here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from playwright.async_api import BrowserContext, Frame, Page, Request, Route
from playwright.async_api import Error as PlaywrightError

from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.page_fetch import Question
from kbjobs.scraping.rendering.page_browser import is_loss
from kbjobs.scraping.rendering.resources import Pending, ResourceRefused, Resources, choose_headers
from kbjobs.scraping.reply import Reply

FETCHED = frozenset({"document", "stylesheet", "script", "xhr", "fetch"})
"""The kinds of requests that are answered, as Playwright names them: no pictures, fonts, media, pings, prefetches."""
MAX_REQUESTS = 400
"""Most requests of one page."""
MAX_BYTES = 64 * 2**20
"""Most bytes that one page may load."""
MAX_LED_TO = 2_000

_NOT_HANDED = frozenset({
    "alt-svc", "clear-site-data", "connection", "content-encoding", "content-length", "etag", "keep-alive",
    "last-modified", "link", "location", "nel", "refresh", "report-to", "reporting-endpoints", "service-worker-allowed",
    "set-cookie", "speculation-rules", "transfer-encoding",
})  # fmt: skip
"""Headers that are not handed to the browser: those of the connection, and those that would make it ask for more."""


@dataclass(eq=False)
class PageGate:
    """Answers the requests of one page.

    Args:
        resources: fetches what may be fetched.
        reply: the page's own document.
    """

    resources: Resources
    reply: Reply
    led_to: dict[str, None] = field(default_factory=dict)
    """Where scripts led: ``history.pushState``, and navigations, which are not carried out."""
    refused: dict[str, str] = field(default_factory=dict)
    """The reasons for requests that were refused, by address."""
    missing: str = ""
    """A file of the site that could not be loaded, and why, if another try may help; '' if none."""
    page: Page | None = None
    _is_begun: bool = False
    _requests: int = 0
    _bytes: int = 0
    _open: int = 0
    _pending: set[Pending] = field(default_factory=set)
    _active: float = field(default_factory=time.monotonic)

    async def guard(self, context: BrowserContext) -> Page:
        """Open the page of a context, with all its requests going through here."""
        await context.route("**/*", self._answer)
        page = await context.new_page()
        self.page = page
        page.on("framenavigated", self._note_navigation)
        context.on("page", self._close_other)
        return page

    @property
    def quiet_for(self) -> float:
        """Seconds since the last request was answered; 0 if one is under way."""
        return 0.0 if self._open else time.monotonic() - self._active

    @property
    def is_queued(self) -> bool:
        """Whether the page waits for the turn of one of its requests: the pause is ours, and not its time."""
        return any(pending.is_queued for pending in self._pending)

    async def _close_other(self, other: Page) -> None:
        if other is not self.page:
            with contextlib.suppress(PlaywrightError):
                await other.close()

    def _note_navigation(self, frame: Frame) -> None:
        if self.page is not None and frame == self.page.main_frame:
            self._note_lead(frame.url)

    def _note_lead(self, url: str) -> None:
        if len(self.led_to) < MAX_LED_TO and url.startswith(("http://", "https://")) and url != self.reply.url:
            self.led_to[url] = None

    async def _answer(self, route: Route) -> None:
        self._open += 1
        try:
            await self._decide(route, route.request)
        except ResourceRefused as refusal:
            if len(self.refused) < MAX_REQUESTS:
                self.refused[route.request.url[:500]] = str(refusal)
            await _abort(route)
        except FetchError as error:
            if error.is_temporary and self.resources.is_own(error.url):
                self.missing = error.message
            if len(self.refused) < MAX_REQUESTS:
                self.refused[route.request.url[:500]] = error.cause
            await _abort(route)
        except Exception as error:
            if not is_loss(error):
                raise
            # The page, or its browser, is gone.
        finally:
            self._open -= 1
            self._active = time.monotonic()

    async def _decide(self, route: Route, request: Request) -> None:
        if self._is_main(request):
            if self._is_begun:
                self._note_lead(request.url)
                raise ResourceRefused("another page")
            self._is_begun = True
            await _fulfil(route, self.reply)
            return
        kind = request.resource_type
        if kind not in FETCHED or "prefetch" in request.headers.get("sec-purpose", request.headers.get("purpose", "")):
            await _abort(route)  # so many that noting them would say nothing
            return
        question = Question(
            request.url.partition("#")[0], request.method, choose_headers(request.headers), _body_of(request)
        )
        self.resources.check(question)
        self._requests += 1
        if self._requests > MAX_REQUESTS or self._bytes > MAX_BYTES:
            raise ResourceRefused("the page asks for too much")
        pending = self.resources.start(question, kind)
        self._pending.add(pending)
        try:
            reply = await asyncio.shield(pending.task)
        finally:
            self._pending.discard(pending)
        self._bytes += len(reply.body)
        if (reply.status == 429 or reply.status >= 500) and self.resources.is_own(reply.url):
            self.missing = f"{reply.url}: HTTP {reply.status}"
        await _fulfil(route, reply)

    def _is_main(self, request: Request) -> bool:
        """Whether a request is for another document in the page's own frame, or in another window."""
        if not request.is_navigation_request():
            return False
        try:
            frame = request.frame
            return frame.parent_frame is None
        except PlaywrightError:  # a new window, which has no frame yet
            return True


async def _fulfil(route: Route, reply: Reply) -> None:
    headers = {name: value for name, value in reply.headers.items() if name not in _NOT_HANDED}
    await route.fulfill(status=reply.status, headers=headers, body=reply.body)


async def _abort(route: Route) -> None:
    try:
        await route.abort("blockedbyclient")
    except Exception as error:
        if not is_loss(error):
            raise


def _body_of(request: Request) -> bytes:
    return (request.post_data_buffer or b"") if request.method == "POST" else b""
