"""httpx with a guard below it, and without what the environment says about proxies and certificates."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import httpcore
import httpx

from kbjobs.scraping.address_guard import AddressGuard

CONNECTIONS = 64
"""Open at the same time, over all hosts."""
IDLE_SECONDS = 15.0
"""How long a connection that is not used stays open."""


class GuardedTransport(httpx.AsyncHTTPTransport):
    """Connects through a guard, which sees each address that is connected to."""

    def __init__(self, guard: AddressGuard, ssl_context: ssl.SSLContext) -> None:
        # httpx has no parameter for the network below its pool. All its own constructor does is to make that pool;
        # without the private name its translation of httpcore's errors and streams would have to be repeated here.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
            http2=True,
            network_backend=guard,
        )


@dataclass(frozen=True)
class Route:
    """How sites are reached: through a proxy (URL of an HTTP or SOCKS one), and trusting whom, certifi if not given."""

    proxy: str | None = None
    ssl_context: ssl.SSLContext | None = None


def make_transport(guard: AddressGuard, route: Route) -> httpx.AsyncHTTPTransport:
    """The transport of a run. A proxy looks names up itself: behind it only names can be guarded, not addresses.

    Raises:
        ValueError: the proxy is no URL of a known kind.
        ImportError: it is a SOCKS proxy, and socksio is not installed.
    """
    ssl_context = route.ssl_context or httpx.create_ssl_context(trust_env=False)
    if route.proxy is None:
        return GuardedTransport(guard, ssl_context)
    limits = httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=IDLE_SECONDS)
    return httpx.AsyncHTTPTransport(verify=ssl_context, trust_env=False, http2=True, limits=limits, proxy=route.proxy)
