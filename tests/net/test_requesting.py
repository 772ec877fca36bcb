"""Where a request may be led: judged by the address that is connected to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from kbjobs.errors import DownloadError
from kbjobs.net import addresses, requesting
from kbjobs.net.requesting import get, read_all
from tests.servers.site_server import Page, Request, SiteServer

PUBLIC = "127.0.0.2"
"""Stands for an address of the public internet, of which there is none here."""


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The addresses of names; one address counts as public, every other is what it is."""
    names: dict[str, str] = {"public.test": PUBLIC}
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, *arguments: Any, **named: Any) -> Any:
        return look_up(names.get(host, host), *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    monkeypatch.setattr(requesting, "is_private", lambda address: address != PUBLIC and addresses.is_private(address))
    return names


def fetch(url: str) -> bytes:
    with get(url) as answer:
        return read_all(answer, 1000)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "2130706433", "127.1", "0x7f.1", "0177.0.0.1", "localhost", "inside.test", "[::1]",
        "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "169.254.169.254", "169.254.169.254.", "metadata.test", "10.0.0.1", "192.168.1.1", "100.64.0.1", "[fe80::1]",
    ],
)  # fmt: skip
def test_no_answer_from_outside_leads_to_a_private_address(internet: dict[str, str], host: str) -> None:
    internet |= {"inside.test": "127.0.0.1", "metadata.test": "169.254.169.254"}
    with SiteServer({"/secret": b"secret"}) as inside, SiteServer(host=PUBLIC) as outside:
        outside.pages["/f"] = Page(location=f"http://{host}:{inside.port}/secret")
        with pytest.raises(DownloadError, match="a private address, and is not followed"):
            fetch(f"http://public.test:{outside.port}/f")
        assert inside.paths() == []


def test_a_name_that_is_another_address_the_second_time(internet: dict[str, str]) -> None:
    """The host that was named first may be private; where it was public, it is not followed to where it is no more."""

    def rebind(request: Request) -> Page:
        internet["public.test"] = "127.0.0.1"
        return Page(location="/secret")

    outside = SiteServer({"/f": rebind}, host=PUBLIC)
    with outside, SiteServer({"/secret": b"secret"}, port=outside.port) as inside:
        with pytest.raises(DownloadError, match=r"public.test \(127.0.0.1\), a private address"):
            fetch(f"http://public.test:{outside.port}/f")
        assert inside.paths() == []


def test_a_private_host_that_was_named_leads_on_within_itself(internet: dict[str, str]) -> None:
    with SiteServer({"/g": b"whole"}) as other, SiteServer({"/f": Page(location="/g"), "/g": b"whole"}) as hub:
        assert fetch(f"{hub.url}/f") == b"whole"
        hub.pages["/f"] = Page(location=f"{other.url}/g")  # another port of the same host
        assert fetch(f"{hub.url}/f") == b"whole"


def test_a_private_host_that_was_named_leads_no_further(internet: dict[str, str]) -> None:
    internet["router.test"] = "127.0.0.3"
    with SiteServer({"/admin": b"secret"}, host="127.0.0.3") as router, SiteServer() as hub:
        for host in ("127.0.0.3", "router.test"):
            hub.pages["/f"] = Page(location=f"http://{host}:{router.port}/admin")
            with pytest.raises(DownloadError, match="a private address, and is not followed"):
                fetch(f"{hub.url}/f")
        assert router.paths() == []


def test_a_private_host_may_lead_to_a_public_one(internet: dict[str, str]) -> None:
    with SiteServer({"/g": b"whole"}, host=PUBLIC) as store, SiteServer() as hub:
        hub.pages["/f"] = Page(location=f"http://public.test:{store.port}/g")
        assert fetch(f"{hub.url}/f") == b"whole"
