"""The addresses a run may connect to: public ones, and private ones only if the user named their host.

A page must not lead a run to services that only this machine can reach: a router, a database, a cloud's metadata. The
check uses the very address that is then connected to. An earlier look-up would prove nothing, since the next answer for
the same name may differ (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

import httpcore

from kbjobs.net.addresses import PrivateAddressError, is_private, is_private_name

MAX_ADDRESSES = 4
"""Most addresses of a name that are tried; they share the time for connecting."""


async def look_up(host: str, port: int) -> list[str]:
    """Look up the addresses of a host, best first, each once.

    Raises:
        socket.gaierror: the host has no address.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that no name can have
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def find_private_hosts(urls: Iterable[str]) -> frozenset[str]:
    """Find the hosts of the given URLs that have private addresses now; a run that starts there may connect to them.

    A host without any address is left out; the request to it will fail.
    """
    private = set()
    for host in {urlsplit(url).hostname or "" for url in urls}:
        try:
            addresses = await look_up(host, 80)
        except OSError:
            continue
        if any(is_private(address) for address in addresses):
            private.add(host)
    return frozenset(private)


class AddressGuard(httpcore.AsyncNetworkBackend):
    """Connects to public addresses, and to any address of the named hosts.

    Args:
        private_hosts: hosts that may have a private address, as in their URL.
    """

    def __init__(self, private_hosts: Collection[str] = ()) -> None:
        self.private_hosts = frozenset(host.strip("[]").lower() for host in private_hosts)
        self._network = httpcore.AnyIOBackend()

    def check_name(self, host: str) -> None:
        """Refuse a host by its name alone, which is all that can be checked if a proxy looks it up.

        Raises:
            PrivateAddressError: the name is a private address, or localhost.
        """
        if host.strip("[]").lower() not in self.private_hosts and is_private_name(host):
            raise PrivateAddressError(host, host)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that answers; see httpcore.

        Args:
            host: a name or an address.
            port: the TCP port.
            timeout: seconds for all addresses together; 60 if None.
            local_address: the address to connect from, if any.
            socket_options: passed on to httpcore.

        Raises:
            PrivateAddressError: one of its addresses is private, and the host is not in ``private_hosts``.
            socket.gaierror: the host has no address.
        """
        deadline = time.monotonic() + (timeout or 60)
        try:
            async with asyncio.timeout(timeout):
                addresses = await look_up(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host} was not found in time") from error
        if host.lower() not in self.private_hosts:
            for address in addresses:
                if is_private(address):
                    raise PrivateAddressError(host, address)
        chosen = addresses[:MAX_ADDRESSES]
        for left, address in zip(range(len(chosen), 0, -1), chosen, strict=True):
            share = max(deadline - time.monotonic(), 0.1) / left
            try:
                return await self._network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
        raise socket.gaierror(socket.EAI_NONAME, f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore calls this between attempts."""
        await self._network.sleep(seconds)
