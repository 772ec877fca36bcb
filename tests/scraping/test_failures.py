"""From the errors of the layers below to a cause."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx
import pytest

from kbjobs.net.addresses import PrivateAddressError
from kbjobs.scraping.failures import explain

URL = "http://example.org/a"


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "cause", "is_temporary"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "later"), "name not found", True),
        (socket.gaierror(socket.EAI_NONAME, "no"), "name not found", False),
        (PrivateAddressError("example.org", "10.0.0.1"), "private address", False),
        (httpx.ConnectTimeout("x"), "timeout", True),
        (raised_from(httpx.ConnectError("x"), OSError(errno.ENETUNREACH, "unreachable")), "no connection", True),
        (raised_from(httpx.ConnectError("x"), ssl.SSLError(1, "no protocol")), "TLS failure", False),
        (raised_from(httpx.ReadError("x"), ConnectionResetError()), "connection lost", True),
        (httpx.ReadError("x"), "connection lost", True),
        (httpx.ProxyError("x"), "proxy failure", True),
        (httpx.RemoteProtocolError("x"), "broken reply", True),
        (httpx.InvalidURL("x"), "broken reply", False),
    ],
)  # fmt: skip
def test_causes(error: Exception, cause: str, is_temporary: bool) -> None:
    explained = explain(error, URL)
    assert (explained.cause, explained.is_temporary, explained.url) == (cause, is_temporary, URL)
    assert explained.message.startswith(f"{URL}: {cause}")
