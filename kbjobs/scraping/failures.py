"""Why a page could not be fetched: turns errors of the lower layers into causes that can be counted."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx

from kbjobs.net.addresses import PrivateAddressError
from kbjobs.scraping.web_urls import without_password


class FetchError(Exception):
    """A request gave no usable reply.

    Args:
        url: the requested URL.
        cause: a short phrase, the same for all errors of a kind.
        detail: more about this error, for people.
        is_temporary: whether another try may succeed.
    """

    def __init__(self, url: str, cause: str, detail: str = "", *, is_temporary: bool = False) -> None:
        self.url = url
        self.cause = cause
        self.is_temporary = is_temporary
        self.message = without_password(f"{url}: {cause}" + (f" ({detail})" if detail else ""))
        super().__init__(self.message)


# The first kind that matches the error or one of its causes. httpx's own kinds come last, because they say less.
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
    """Make a FetchError from an error of httpx, of the guard or of the network."""
    links = list(chain_of(error))
    for kind, cause, is_temporary in CAUSES:
        for link in links:
            if isinstance(link, kind):
                return FetchError(url, cause, describe(link), is_temporary=is_temporary or is_transient(link))
    return FetchError(url, "broken reply", str(error), is_temporary=True)


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, then the errors it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_transient(error: BaseException) -> bool:
    """Whether a name was not found only because no name server answered."""
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN


def describe(error: BaseException) -> str:
    """The details of an error beyond its cause."""
    if isinstance(error, PrivateAddressError):
        return error.host if error.host == error.address else f"{error.host} is {error.address}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.strerror or "") if isinstance(error, OSError) else str(error)
