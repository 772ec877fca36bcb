"""The addresses that a run connects to, and those it does not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import httpcore
import pytest

from kbjobs.net.addresses import PrivateAddressError, is_private, is_private_name
from kbjobs.scraping import address_guard
from kbjobs.scraping.address_guard import AddressGuard, find_private_hosts
from tests.servers.site_server import SiteServer

PRIVATE = """
127.0.0.1 127.8.9.10 10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 100.127.255.255 0.0.0.0
0.1.2.3 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 192.0.2.1 198.51.100.7 203.0.113.9 198.18.0.1 192.0.0.1
:: ::1 fe80::1 fe80::1%1 fc00::1 fd12:3456::1 ff02::1 fec0::1 2001:db8::1 100::1
::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1
64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::808:808 2002:7f00:1:: 2002:c0a8:101:: 2002:a9fe:a9fe:: 2001::1
"""
PUBLIC = """
8.8.8.8 93.184.215.14 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.167.1.1 223.255.255.255
2606:2800:21f:cb07:6820:80da:af6b:8b2c 2a00:1450:4001:812::200e ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::
"""


@pytest.mark.parametrize("address", PRIVATE.split())
def test_an_address_that_is_not_of_the_public_internet(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_a_public_address(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "db.localhost", "127.0.0.1", "[::1]", "::1"])
def test_a_name_that_is_private_whatever_is_looked_up(host: str) -> None:
    assert is_private_name(host)
    with pytest.raises(PrivateAddressError):
        AddressGuard().check_name(host)


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org", "8.8.8.8"])
def test_a_name_that_must_be_looked_up(host: str) -> None:
    assert not is_private_name(host)
    AddressGuard().check_name(host)


class Network(httpcore.AsyncMockBackend):
    """Notes the addresses that are connected to; those of ``refusing`` do not answer."""

    def __init__(self, refusing: tuple[str, ...] = ()) -> None:
        super().__init__([])
        self.connected: list[str] = []
        self.refusing = refusing

    async def connect_tcp(self, host: str, *rest: object) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        if host in self.refusing:
            raise httpcore.ConnectError("refused")
        return await super().connect_tcp(host, 80)


def connect(
    monkeypatch: pytest.MonkeyPatch, answers: list[list[str]], network: Network, private_hosts: tuple[str, ...] = ()
) -> int:
    """Connect to example.org, which has other addresses each time it is looked up; how often it was."""
    left: Iterator[list[str]] = iter(answers)
    asked = 0

    async def look_up(host: str, port: int) -> list[str]:
        nonlocal asked
        asked += 1
        return next(left)

    monkeypatch.setattr(address_guard, "look_up", look_up)
    guarded = AddressGuard(private_hosts)
    guarded._network = network  # type: ignore[assignment]
    asyncio.run(guarded.connect_tcp("example.org", 80, 5))
    return asked


def test_it_connects_to_the_address_it_has_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second answer of the name is private, and is never asked for."""
    network = Network()
    assert connect(monkeypatch, [["93.184.215.14"], ["127.0.0.1"]], network) == 1
    assert network.connected == ["93.184.215.14"]


@pytest.mark.parametrize("answer", [["10.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::1"], ["::ffff:10.0.0.1"]])
def test_one_private_address_of_a_name_is_enough(monkeypatch: pytest.MonkeyPatch, answer: list[str]) -> None:
    network = Network()
    with pytest.raises(PrivateAddressError) as error:
        connect(monkeypatch, [answer], network)
    assert (error.value.host, error.value.address) == ("example.org", answer[-1])
    assert not network.connected


def test_a_host_that_was_asked_for_may_be_private(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network()
    connect(monkeypatch, [["10.0.0.1"]], network, ("Example.org",))
    assert network.connected == ["10.0.0.1"]


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(refusing=("2606:2800::1",))
    connect(monkeypatch, [["2606:2800::1", "93.184.215.14"]], network)
    assert network.connected == ["2606:2800::1", "93.184.215.14"]


def test_no_address_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(refusing=("93.184.215.14", "93.184.215.15"))
    with pytest.raises(httpcore.ConnectError):
        connect(monkeypatch, [["93.184.215.14", "93.184.215.15"]], network)


def test_a_look_up_takes_no_longer_than_connecting_may(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(address_guard, "look_up", look_up)
    with pytest.raises(httpcore.ConnectTimeout):
        asyncio.run(AddressGuard().connect_tcp("example.org", 80, 0.05))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example"])
def test_a_name_that_nobody_has(host: str) -> None:
    with pytest.raises(socket.gaierror):
        asyncio.run(AddressGuard().connect_tcp(host, 80, 5))


@pytest.mark.parametrize("written", ["2130706433", "0x7f.1", "127.1", "0"])
def test_another_way_to_write_a_private_address(written: str) -> None:
    """What the system's look-up takes for an address is checked as one."""
    with SiteServer() as server, pytest.raises(PrivateAddressError):
        asyncio.run(AddressGuard().connect_tcp(written, server.port, 5))


def test_the_private_hosts_of_start_urls() -> None:
    urls = [
        "http://127.0.0.1:8000/a",
        "http://localhost/",
        "http://[::1]/",
        "http://8.8.8.8/",
        "http://nobody.invalid/",
    ]
    assert asyncio.run(find_private_hosts(urls)) == {"127.0.0.1", "localhost", "::1"}
