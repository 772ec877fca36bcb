"""httpx transports that connect through a guard, and ignore the environment's proxies and certificates."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import httpcore
import httpx

from kbjobs.scraping.address_guard import AddressGuard

CONNECTIONS = 64
"""Most open connections, over all hosts."""
IDLE_SECONDS = 15.0
"""How long an unused connection stays open."""


class GuardedTransport(httpx.AsyncHTTPTransport):
    """Connects through a guard, which checks every address before a connection."""

    def __init__(self, guard: AddressGuard, ssl_context: ssl.SSLContext) -> None:
        # httpx has no parameter for its pool's network backend. Its constructor only creates this pool; setting the
        # private attribute saves repeating httpx's translation of httpcore's errors and streams here.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
            http2=True,
            network_backend=guard,
        )


@dataclass(frozen=True)
class Route:
    """How sites are reached: through a proxy (its URL, HTTP or SOCKS), and trusting whom, by default certifi."""

    proxy: str | None = None
    ssl_context: ssl.SSLContext | None = None


def make_transport(guard: AddressGuard, route: Route) -> httpx.AsyncHTTPTransport:
    """Make the transport of a run. A proxy looks names up itself, so only names can be guarded then, not addresses.

    Raises:
        ValueError: the proxy is not a URL of a known kind.
        ImportError: the proxy is a SOCKS proxy, and socksio is not installed.
    """
    ssl_context = route.ssl_context or httpx.create_ssl_context(trust_env=False)
    if route.proxy is None:
        return GuardedTransport(guard, ssl_context)
    limits = httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=IDLE_SECONDS)
    return httpx.AsyncHTTPTransport(verify=ssl_context, trust_env=False, http2=True, limits=limits, proxy=route.proxy)
