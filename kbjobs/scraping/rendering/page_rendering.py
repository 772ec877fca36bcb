"""Rendering one page: its scripts run in the browser, and its DOM takes the place of what the site sent."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from kbjobs.errors import UsageError
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.rendering.page_browser import BrowserLost, PageBrowser, drop, is_loss
from kbjobs.scraping.rendering.page_gate import PageGate
from kbjobs.scraping.rendering.page_snapshot import PageSnapshot, take_snapshot
from kbjobs.scraping.rendering.resources import Resources
from kbjobs.scraping.reply import Reply
from kbjobs.system.crashpoints import crash_point

PAGE_SECONDS = 15.0
"""How long a page may take, without the pauses between requests that the throttle asks for."""
MAX_PAUSES = 120.0
"""Most seconds of such pauses."""
QUIET = 0.5
"""The network is quiet after so many seconds without a request, as in Playwright's ``networkidle``."""
LOOK = 0.05
"""Seconds between two looks at the page."""
SNAPSHOT_SECONDS = 8.0
TRIES = 3
"""How often a page is rendered whose browser is lost meanwhile; again only alone, as another page may be to blame."""
_DROPPED = ("etag", "last-modified", "content-length", "content-encoding")


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """When a page counts as complete: when ``wait_for`` (a CSS selector) matches; '' for a quiet network.

    ``wants_routes``: whether links to hash routes are followed.
    """

    wait_for: str = ""
    wants_routes: bool = False


class PageRenderer:
    """Renders pages.

    Args:
        browser: where they are rendered.
        resources: what they may load.
        options: when they are complete.
        log: takes notes.
    """

    def __init__(
        self,
        browser: PageBrowser,
        resources: Resources,
        options: RenderOptions,
        log: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        self._browser, self._resources, self._options, self._log = browser, resources, options, log
        self._is_checked = False
        self._incomplete: set[str] = set()  # pages that are tried once more, and then saved as they are
        self.rendered = 0
        """Pages rendered so far."""

    async def render(self, reply: Reply) -> Reply:
        """Render a page.

        Args:
            reply: the page as the site sent it.

        Returns:
            The same with the DOM as its body, in UTF-8, and the addresses that its scripts lead to. It has no
            validators, because the site's tell nothing about what scripts load.

        Raises:
            FetchError: the page cannot be rendered.
            UsageError: the selector to wait for is none.
        """
        for attempt in range(TRIES):
            try:
                return await self._render(reply, alone=attempt > 0)
            except BrowserLost as loss:
                self._log.info("%s is rendered again, alone: the browser or its page was lost (%s)", reply.url, loss)
                if attempt == TRIES - 1:
                    raise FetchError(reply.url, "cannot be rendered", str(loss)) from loss
        raise AssertionError

    async def close(self) -> None:
        """End the browser, and the requests for pages."""
        await self._resources.close()
        await self._browser.close()

    async def _render(self, reply: Reply, alone: bool) -> Reply:
        async with self._browser.tab(alone=alone) as tab:
            rendering = asyncio.create_task(self._render_in(tab.context, reply))
            try:
                ends: set[asyncio.Future[Any]] = {rendering, tab.lost}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if not rendering.done():
                    raise BrowserLost("it ended")
                return rendering.result()
            except Exception as error:
                if not is_loss(error):
                    raise
                raise BrowserLost((str(error) or "it ended").splitlines()[0][:200]) from error
            finally:
                await drop(rendering)

    async def _render_in(self, context: BrowserContext, reply: Reply) -> Reply:
        gate = PageGate(self._resources, reply)
        page = await gate.guard(context)
        if not self._is_checked:
            await self._check_selector(page)
        opening = asyncio.create_task(page.goto(reply.url, wait_until="load", timeout=0))
        try:
            await self._await_page(page, gate, opening)
        finally:
            await drop(opening)
        if gate.missing and reply.url not in self._incomplete:
            self._incomplete.add(reply.url)
            raise FetchError(reply.url, "a file of the page could not be loaded", gate.missing, is_temporary=True)
        snapshot = await self._take(context, page, reply)
        crash_point("render.taken")
        self._note(reply, gate, snapshot)
        return _replace_body(reply, snapshot, gate)

    async def _check_selector(self, page: Page) -> None:
        if self._options.wait_for:
            try:
                await page.query_selector(f"css={self._options.wait_for}")
            except PlaywrightError as error:
                if page.is_closed():
                    raise
                raise UsageError(
                    f"--render-wait {self._options.wait_for!r} is not a CSS selector", "Give one, as in 'main h1'."
                ) from error
        self._is_checked = True

    async def _await_page(self, page: Page, gate: PageGate, opening: asyncio.Task[Any]) -> None:
        """Wait until the page is complete, or has had its time."""
        clock = _PageClock()
        waiting = None
        if self._options.wait_for:
            selector = f"css={self._options.wait_for}"
            waiting = asyncio.create_task(page.wait_for_selector(selector, state="attached", timeout=0))
        try:
            while not clock.is_over:
                await asyncio.wait({opening, *([waiting] if waiting else [])}, timeout=LOOK)
                if opening.done():
                    opening.result()  # raises what went wrong
                if waiting is not None and waiting.done():
                    waiting.result()
                    return
                if waiting is None and opening.done():
                    if gate.quiet_for >= QUIET:
                        return
                    await asyncio.sleep(LOOK)
                elif waiting is not None and opening.done():
                    await asyncio.sleep(LOOK)
                clock.tick(is_paused=gate.is_queued)
        finally:
            if waiting is not None:
                await drop(waiting)

    async def _take(self, context: BrowserContext, page: Page, reply: Reply) -> PageSnapshot:
        try:
            async with asyncio.timeout(SNAPSHOT_SECONDS):
                return await take_snapshot(context, page, self._options.wants_routes)
        except TimeoutError as error:
            raise FetchError(reply.url, "takes too long to render", f"more than {PAGE_SECONDS:g} s") from error
        except ValueError as error:
            raise FetchError(reply.url, "cannot be rendered", str(error)) from error

    def _note(self, reply: Reply, gate: PageGate, snapshot: PageSnapshot) -> None:
        self.rendered += 1
        self._incomplete.discard(reply.url)
        if gate.missing:
            self._log.warning("%s is saved without a file that could not be loaded: %s", reply.url, gate.missing)
        if snapshot.is_cut:
            self._log.warning("%s: only the first part of the rendered page is kept, it is too large", reply.url)
        for address, reason in list(gate.refused.items())[:5]:
            self._log.debug("%s may not load %s: %s", reply.url, address, reason)


class _PageClock:
    """The time of a page, which stands still while the throttle makes it wait."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._spent = self._paused = 0.0

    @property
    def is_over(self) -> bool:
        return self._spent >= PAGE_SECONDS or self._paused >= MAX_PAUSES

    def tick(self, *, is_paused: bool) -> None:
        now = time.monotonic()
        if is_paused:
            self._paused += now - self._last
        else:
            self._spent += now - self._last
        self._last = now


def _replace_body(reply: Reply, snapshot: PageSnapshot, gate: PageGate) -> Reply:
    headers = {name: value for name, value in reply.headers.items() if name not in _DROPPED}
    led_to = tuple(dict.fromkeys([*gate.led_to, *snapshot.routes]))
    body = snapshot.html.encode("utf-8", "replace")
    return replace(reply, headers=headers, body=body, charset="utf-8", led_to=led_to)
