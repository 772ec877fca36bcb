"""Running the web application on an address, with a token, until it is told to stop."""

from __future__ import annotations

import resource
import secrets
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kbjobs.config.home import Home
from kbjobs.errors import UnavailableError, UsageError
from kbjobs.web.app import Access, ServerOffer, make_app
from kbjobs.web.events import EventHub
from kbjobs.web.guard import LOOPBACK

DEFAULT_PORT = 8737
REQUEST_SECONDS = 10.0  # how long a connection may take to send its first request
MAX_CONNECTIONS = 4_096
LOOPBACK_ADDRESSES = ("127.0.0.1", "::1", "localhost")


class LastingProtocol(H11Protocol):
    """HTTP/1.1 that closes connections without a request after ten seconds, because they are cheap to open."""

    def connection_made(self, transport: Any) -> None:
        """Start the time limit."""
        super().connection_made(transport)
        self.loop.call_later(REQUEST_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class _Server(uvicorn.Server):
    """Ends the event streams first at a shutdown, which would wait for them."""

    def __init__(self, config: uvicorn.Config, hub: EventHub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)


def listen(host: str, port: int | None) -> socket.socket:
    """Open a socket that listens on a port, by default on 8737 or, if that is taken, on any free port.

    Raises UnavailableError if the given port cannot be used, UsageError if the host is not an address.
    """
    for wanted in (port,) if port is not None else (DEFAULT_PORT, 0):
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise UsageError(f"{host!r} is not an address of this machine: {error}", "Leave out --host.") from error
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(address)
            found.listen(1024)
        except OSError as error:
            found.close()
            if port is not None:
                raise UnavailableError(
                    f"port {port} cannot be used: {error.strerror}", "Give another with --port, or leave --port out."
                ) from error
            continue
        return found
    raise UnavailableError("no free port was found", "Give one with --port.")


def serve(
    home: Home,
    listening: socket.socket,
    offer: ServerOffer,
    names: tuple[str, ...],
    on_start: Callable[[str], None],
    token: str | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        home: the home.
        listening: a socket from :func:`listen`.
        offer: what to offer.
        names: host names that requests may use, in addition to the loopback's.
        on_start: called with the token.
        token: the token; by default a new one.
    """
    _allow_connections()
    port = int(listening.getsockname()[1])
    token = token or secrets.token_urlsafe(24)
    hub = EventHub(home)
    app = make_app(home, hub, Access(token, port, (*LOOPBACK, *names), offer))
    config = uvicorn.Config(
        app,
        http=LastingProtocol,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, hub)
    with server.capture_signals():  # before on_start, so that a Ctrl-C during the start is not lost
        on_start(token)
        server.run(sockets=[listening])


def is_loopback(host: str) -> bool:
    """Whether an address is reachable only from this machine."""
    return host in LOOPBACK_ADDRESSES


def _allow_connections() -> None:
    """Raise the limit of open files for the connections, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
