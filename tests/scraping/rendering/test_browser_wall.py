"""The proxy that is the browser's only way out: what arrives there is refused and noted."""

from __future__ import annotations

import asyncio

import pytest

from kbjobs.scraping.rendering import wall
from kbjobs.scraping.rendering.wall import BrowserWall
from tests.servers.site_server import SiteServer


async def _say(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


def test_nothing_is_let_through() -> None:
    async def try_all(server: SiteServer) -> dict[str, int]:
        async with BrowserWall() as proxy:
            host = server.url.removeprefix("http://")
            for request in (f"CONNECT {host} HTTP/1.1\r\n\r\n", f"GET {server.url}/ HTTP/1.1\r\n\r\n"):
                for _ in range(2):
                    assert (await _say(proxy.port, request.encode())).startswith(b"HTTP/1.1 403 ")
            return proxy.refused

    with SiteServer({"/": "<p>Here"}) as server:
        refused = asyncio.run(try_all(server))
        assert refused == {f"CONNECT {server.url.removeprefix('http://')}": 2, f"GET {server.url}/": 2}
        assert not server.requests


def test_a_flood_of_nonsense_fills_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wall, "SECONDS", 0.2)

    async def flood() -> dict[str, int]:
        async with BrowserWall() as proxy:
            await _say(proxy.port, b"x" * 10_000)
            await _say(proxy.port, b"\xff\n")
            assert await _say(proxy.port, b"GET ") == b""  # it says no more, and is dropped
            for number in range(wall.MAX_NOTED + 20):
                await _say(proxy.port, b"GET http://host-%d/ HTTP/1.1\n" % number)
            return proxy.refused

    assert len(asyncio.run(flood())) == wall.MAX_NOTED
