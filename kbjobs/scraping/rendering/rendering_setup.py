"""Letting a crawl render its pages: the browser, the gate and the decision, put together and ended together."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kbjobs.scraping.crawl import Crawl
from kbjobs.scraping.rendering.browser_choice import find_browser, may_use_sandbox
from kbjobs.scraping.rendering.browser_folder import make_browser_folder
from kbjobs.scraping.rendering.page_browser import PageBrowser, is_loss
from kbjobs.scraping.rendering.page_rendering import PageRenderer, RenderOptions
from kbjobs.scraping.rendering.resources import Resources
from kbjobs.scraping.rendering.site_rendering import SiteRendering


def _drop_losses(loop: asyncio.AbstractEventLoop, found: dict[str, Any]) -> None:
    """Keep out of the log what Playwright leaves behind when a browser is lost; that itself is handled elsewhere."""
    error = found.get("exception")
    if error is None or not is_loss(error):
        loop.default_exception_handler(found)


@asynccontextmanager
async def rendered(crawl: Crawl, is_automatic: bool, wait_for: str, wants_routes: bool) -> AsyncIterator[None]:
    """Let a crawl render its pages until the context is left, which ends the browser.

    Args:
        crawl: the crawl.
        is_automatic: whether to decide from the first pages if rendering is needed.
        wait_for: the CSS selector that a page is complete with; '' for a quiet network.
        wants_routes: whether links to hash routes are followed.

    Raises:
        MissingRequirementError: the extra ``render`` or the browser is not installed.
    """
    context, fetcher, visitor = crawl.context, crawl.fetcher, crawl.visitor
    executable = find_browser(context.settings.text("render.browser"))
    if not may_use_sandbox():
        context.log.warning("as root, the browser runs without its sandbox; run kbjobs as another user to have it")
    folder = make_browser_folder(context.source.path)
    browser = PageBrowser(executable, folder, fetcher.user_agent, context.log)
    resources = Resources(fetcher, crawl.scope, visitor.robots_of)
    renderer = PageRenderer(browser, resources, RenderOptions(wait_for, wants_routes), context.log)
    rendering = SiteRendering(renderer, fetcher.parser, crawl.frontier, is_automatic, context.log)
    crawl.rendering, visitor.render = rendering, rendering.render
    loop = asyncio.get_running_loop()
    former = loop.get_exception_handler()
    loop.set_exception_handler(_drop_losses)
    try:
        yield
    finally:
        loop.set_exception_handler(former)
        await rendering.close()
        shutil.rmtree(folder, ignore_errors=True)
        for target, count in list(browser.refused.items())[:20]:
            context.log.info("the browser was kept from %s (%d times)", target, count)
