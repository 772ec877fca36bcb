"""A website for each test, and requests to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from kbjobs.scraping import crawl, page_fetch
from kbjobs.scraping.address_guard import AddressGuard
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.page_fetch import Fetcher, FetchLimits
from kbjobs.scraping.reply import Reply
from tests.servers.site_server import SiteServer

AGENT = "kbjobs-test/1.0 (+mailto:test@example.org)"
LOOPBACK = ("127.0.0.1",)


@pytest.fixture
def site() -> Iterator[SiteServer]:
    """A site without pages, which the test gives it."""
    with SiteServer() as server:
        yield server


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapes that give up early, so that what is slow or fails costs a test no time."""
    monkeypatch.setattr(page_fetch, "FetchLimits", lambda: FetchLimits(connect=1, idle=0.3, whole=5, slow_for=0.2))
    monkeypatch.setattr(crawl, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(crawl, "MAX_TRIES", 2)


def fetcher_for(*, private_hosts: tuple[str, ...] = LOOPBACK, **options: Any) -> Fetcher:
    """A fetcher that may connect to the test's site, and to the loopback by no other name."""
    return Fetcher(AGENT, AddressGuard(private_hosts), **options)


def get(
    url: str,
    *arguments: Any,
    private_hosts: tuple[str, ...] = LOOPBACK,
    limits: FetchLimits | None = None,
    options: dict[str, Any] | None = None,
    **keywords: Any,
) -> Reply:
    """The reply to one request by a fetcher of its own."""

    async def ask() -> Reply:
        async with fetcher_for(private_hosts=private_hosts, limits=limits, **(options or {})) as fetcher:
            return await fetcher.get(url, *arguments, **keywords)

    return asyncio.run(ask())


def fail(url: str, *arguments: Any, **keywords: Any) -> FetchError:
    """The error of one request, which names what was asked for."""
    with pytest.raises(FetchError) as error:
        get(url, *arguments, **keywords)
    assert error.value.url
    assert error.value.message.startswith(error.value.url)
    assert error.value.cause in error.value.message
    return error.value
