"""What lies between httpx and the network: HTTP/2, and the guard."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from kbjobs.net.addresses import PrivateAddressError
from kbjobs.scraping.address_guard import AddressGuard
from kbjobs.scraping.failures import FetchError
from kbjobs.scraping.transport import Route, make_transport
from tests.scraping.conftest import fetcher_for
from tests.servers.site_server import SiteServer, make_certificate


def test_the_guard_sees_every_connection(site: SiteServer) -> None:
    """It stands below a private name of httpx; this is what fails if httpx calls it otherwise."""
    context = httpx.create_ssl_context()

    async def ask() -> None:
        async with make_transport(AddressGuard(), Route(ssl_context=context)) as transport:
            await transport.handle_async_request(httpx.Request("GET", site.url))

    with pytest.raises(PrivateAddressError):
        asyncio.run(ask())
    assert not site.requests


async def speak_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with its path; a path that ends with ``!`` with a stream that is broken off."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    while received := await reader.read(65536):
        for event in connection.receive_data(received):
            if isinstance(event, h2.events.RequestReceived) and event.stream_id and event.headers:
                path = {str(name): str(value) for name, value in event.headers}[":path"]
                connection.send_headers(event.stream_id, [(":status", "200"), ("content-type", "text/plain")])
                if path.endswith("!"):
                    connection.reset_stream(event.stream_id)
                else:
                    connection.send_data(event.stream_id, path.encode(), end_stream=True)
        writer.write(connection.data_to_send())
    writer.close()


def test_http2(tmp_path: Path) -> None:
    """Many requests share one connection, and a broken one does not harm the others."""
    certificate = make_certificate(tmp_path)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate)
    server_context.set_alpn_protocols(["h2"])
    connections = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await speak_http2(reader, writer)

    async def ask() -> None:
        server = await asyncio.start_server(count, "127.0.0.1", ssl=server_context)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with fetcher_for(route=Route(ssl_context=ssl.create_default_context(cafile=str(certificate)))) as fetcher:
            assert (await fetcher.get(f"{url}/first")).body == b"/first"
            with pytest.raises(FetchError) as error:
                await fetcher.get(f"{url}/!")
            assert (error.value.cause, error.value.is_temporary) == ("broken reply", True)
            replies = await asyncio.gather(*(fetcher.get(f"{url}/{number}") for number in range(10)))
        server.close()
        assert [reply.body.decode() for reply in replies] == [f"/{number}" for number in range(10)]

    asyncio.run(ask())
    assert connections == 1
