"""Why a page could not be fetched: from the errors below to a cause that can be counted."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx

from kbjobs.net.addresses import PrivateAddressError
from kbjobs.scraping.web_urls import without_password


class FetchError(Exception):
    """A request has given no reply that can be used.

    Args:
        url: what was asked for.
        cause: a short phrase that is the same for all errors of the kind.
        detail: more of it, for a person.
        is_temporary: whether another try may succeed.
    """

    def __init__(self, url: str, cause: str, detail: str = "", *, is_temporary: bool = False) -> None:
        self.url = url
        self.cause = cause
        self.is_temporary = is_temporary
        self.message = without_password(f"{url}: {cause}" + (f" ({detail})" if detail else ""))
        super().__init__(self.message)


# The first that fits, among an error and what it was raised from. httpx's own come last, because they say less.
CAUSES: list[tuple[type[Exception], str, bool]] = [
    (PrivateAddressError, "private address", False),
    (socket.gaierror, "name not found", False),
    (ssl.SSLCertVerificationError, "TLS certificate is not valid", False),
    (ssl.SSLError, "TLS failure", False),
    (ConnectionRefusedError, "connection refused", True),
    (ConnectionError, "connection lost", True),
    (httpx.ProxyError, "proxy failure", True),
    (httpx.TimeoutException, "timeout", True),
    (httpx.ConnectError, "no connection", True),
    (httpx.NetworkError, "connection lost", True),
    (httpx.InvalidURL, "broken reply", False),
]


def explain(error: Exception, url: str) -> FetchError:
    """The cause of an error of httpx, of the guard or of the network below."""
    links = list(chain_of(error))
    for kind, cause, is_temporary in CAUSES:
        for link in links:
            if isinstance(link, kind):
                return FetchError(url, cause, describe(link), is_temporary=is_temporary or is_transient(link))
    return FetchError(url, "broken reply", str(error), is_temporary=True)


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, then what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_transient(error: BaseException) -> bool:
    """Whether a name is not found only because no server of names answers."""
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN


def describe(error: BaseException) -> str:
    """What an error says beyond its cause."""
    if isinstance(error, PrivateAddressError):
        return error.host if error.host == error.address else f"{error.host} is {error.address}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.strerror or "") if isinstance(error, OSError) else str(error)
