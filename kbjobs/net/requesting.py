"""One GET request: its redirects, the hosts that may see the token, and the meaning of error statuses.

It uses http.client instead of httpx, which passes on large pieces as they arrive, at the speed of curl, and needs no
costly import.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from kbjobs.errors import DownloadError, KbjobsError, MissingRequirementError, NotFoundError
from kbjobs.net.addresses import PrivateAddressError, is_loopback, is_private, is_private_name
from kbjobs.net.backoff import AwayError, read_retry_after
from kbjobs.version import VERSION

PIECE = 512 * 1024
"""Most bytes read at a time, which is also the most that a kill loses of arrived bytes."""
CONNECT_SECONDS = 15.0
IDLE_SECONDS = 30.0
"""Seconds without a byte after which a connection is given up."""
_LOOK_SECONDS = 0.25  # between two checks for a request to stop
_MAX_REDIRECTS = 5
_MAX_ADDRESSES = 4  # most addresses of a name that are tried
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524, 529)


class RefusedError(KbjobsError):
    """A server refused a request, and would refuse it again.

    Args:
        url: the requested URL.
        status: the status of the reply.
        headers: the headers of the reply, by names in lower case.
    """

    def __init__(self, url: str, status: int, headers: Mapping[str, str]) -> None:
        shown = _shown(url)
        super().__init__(f"{shown} answers with status {status}", "Check the address.")
        self.url, self.shown, self.status, self.headers = url, shown, status, headers

    def explain(self) -> KbjobsError:
        """Turn it into an error with the exit code of its kind."""
        if self.status in (401, 403):
            return MissingRequirementError(
                f"{self.shown} cannot be read without permission (status {self.status})", self.hint
            )
        if self.status in (404, 410):
            return NotFoundError(f"there is no {self.shown}", self.hint)
        return DownloadError(self.message, self.hint)


class Response:
    """A server's reply: a status of 200 or 206, headers, and the body in pieces."""

    def __init__(self, url: str, response: http.client.HTTPResponse, wire: socket.socket) -> None:
        self.url = url
        """The URL that gave the reply, after redirects."""
        self.status = response.status
        self.headers = _lower(response)
        self._response, self._wire = response, wire

    def pieces(self, check: Callable[[], None]) -> Iterator[bytes]:
        """Yield the body as it arrives; ``check`` is called several times a second, and may raise to stop.

        Raises:
            AwayError: the connection broke, or nothing came for :data:`IDLE_SECONDS`.
        """
        is_first = True  # bytes that arrived with the headers are in a buffer, for which select() cannot wait
        while True:
            if not is_first:
                self._wait(check)
            is_first = False
            check()
            with _network(self.url):
                piece = self._response.read1(PIECE)
            if piece:
                yield piece
            if not piece or self._response.length == 0:
                return

    def _wait(self, check: Callable[[], None]) -> None:
        """Wait until something can be read."""
        if isinstance(self._wire, ssl.SSLSocket) and self._wire.pending():
            return
        end = time.monotonic() + IDLE_SECONDS
        while not self._response.isclosed():
            if select.select([self._wire], [], [], _LOOK_SECONDS)[0]:
                return
            check()
            if time.monotonic() > end:
                raise AwayError(f"has sent nothing for {IDLE_SECONDS:.0f} s")


@contextmanager
def get(
    url: str,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    *,
    own_headers: Mapping[str, str] | None = None,
    connect_seconds: float = CONNECT_SECONDS,
) -> Iterator[Response]:
    """Send a GET request and follow its redirects.

    The token is sent only over https or to the loopback, and no longer once a redirect leads to another origin. A
    redirect from https to http is not followed. Redirects to private addresses are not followed, judged by the address
    actually connected to, unless they stay on the host of ``url`` and that itself has a private address.

    Args:
        url: an http or https URL.
        headers: headers that are sent with each request.
        token: the token for the header ``Authorization``.
        own_headers: headers that are sent only where the token may be, because they may contain secrets.
        connect_seconds: the time limit of connecting.
    Raises:
        AwayError: there is no answer, or one that asks to try later.
        RefusedError: the server refuses the request.
        DownloadError: the address, or the target of a redirect, cannot be used.
    """
    first = _split(url)
    parts, here = first, url
    private_host: str | None = first.hostname  # may have a private address, because the caller named it
    for _ in range(_MAX_REDIRECTS + 1):
        sent = {"User-Agent": f"kbjobs/{VERSION}", "Accept-Encoding": "identity", **(headers or {})}
        if _origin(parts) != _origin(first) or not may_carry_token(here):
            token, own_headers = None, None
        sent |= own_headers or {}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        connection = _make_connection(parts, connect_seconds, may_be_private=parts.hostname == private_host)
        try:
            with _network(here):
                connection.connect()
                wire = connection.sock
                assert wire is not None  # noqa: S101 — connect() has just made it
                wire.settimeout(IDLE_SECONDS)
                connection.request("GET", _target(parts), headers=sent)
                response = connection.getresponse()
            location = response.headers.get("Location")
            if not connection.is_private and parts is first:
                private_host = None  # from then on it must not be private: a name may get another address
            if response.status not in _REDIRECTS or not location:
                _check_status(here, response)
                yield Response(here, response, wire)
                return
        except PrivateAddressError as error:
            told = error.host if error.host == error.address else f"{error.host} ({error.address})"
            raise DownloadError(
                f"{_shown(url)} leads to {told}, a private address, and is not followed", "Check the address."
            ) from error
        finally:
            connection.close()
        before, here = parts, _join(here, location)
        parts = _split(here)
        _check_redirect(before, parts, url)
    raise DownloadError(f"{url} leads from one address to the next, {_MAX_REDIRECTS} times", "Check the address.")


def may_carry_token(url: str) -> bool:
    """Whether a secret may be sent to an address: over https, or to this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def is_same_origin(url: str, other: str) -> bool:
    """Whether two addresses have the same scheme, host and port. Raises DownloadError if one is invalid."""
    return _origin(_split(url)) == _origin(_split(other))


def read_all(answer: Response, most: int, check: Callable[[], None] = lambda: None) -> bytes:
    """Read a small body completely.

    Args:
        answer: the reply.
        most: the largest size of the body in bytes.
        check: called several times a second; may raise to stop.

    Raises:
        AwayError: the body is incomplete.
        DownloadError: the body is larger than ``most``.
    """
    body = bytearray()
    for piece in answer.pieces(check):
        body += piece
        if len(body) > most:
            raise DownloadError(
                f"{answer.url} has more than {most:,} bytes",
                "Check the address: this is not what kbjobs looks for there.",
            )
    declared = answer.headers.get("content-length", "")
    if declared.isdecimal() and len(body) < int(declared):
        raise AwayError("broke off")
    return bytes(body)


@contextmanager
def _network(url: str) -> Iterator[None]:
    """Turn errors of a connection into AwayError, and those that no retry can fix into DownloadError."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise DownloadError(
            f"{_shown(url)}: the certificate of the server is not valid: {error.verify_message}",
            "Check the clock of this machine, or name the authority to trust in SSL_CERT_FILE.",
        ) from error
    except TimeoutError as error:
        raise AwayError("does not answer in time") from error
    except socket.gaierror as error:
        raise AwayError(f"is not found ({error.strerror})") from error
    except http.client.InvalidURL as error:
        raise DownloadError(f"the address {_shown(url)} cannot be used: {error}", "Check the address.") from error
    except http.client.HTTPException as error:
        raise AwayError(f"answers with what is not HTTP ({type(error).__name__})") from error
    except OSError as error:
        raise AwayError(f"does not answer ({(error.strerror or str(error)).lower()})") from error
    except (UnicodeError, ValueError) as error:  # an invalid name or address
        raise DownloadError(f"the address {_shown(url)} cannot be used: {error}", "Check the address.") from error


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise DownloadError(f"{_shown(url)!r} is no address: {error}", "It begins with https://.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DownloadError(f"{_shown(url)!r} is not a web address", "It begins with https://.")
    return parts


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise DownloadError(f"{url} leads to {location[:200]!r}, which is no address", "Check the address.") from error


def _shown(url: str) -> str:
    """An address as messages may show it, without the query, which may be a signature that grants access."""
    return url.partition("?")[0][:200]


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class _Connection(http.client.HTTPConnection):
    """Connects to the very address that it has checked; an earlier look-up would prove nothing (DNS rebinding)."""

    def __init__(self, parts: SplitResult, seconds: float, *, may_be_private: bool) -> None:
        default = 443 if parts.scheme == "https" else 80
        super().__init__(parts.hostname or "", parts.port or default, timeout=seconds)
        self.default_port = default  # the port that the Host header leaves out
        self._is_encrypted, self._may_be_private = parts.scheme == "https", may_be_private
        self.is_private = False
        """Whether it is connected to a private address."""

    def connect(self) -> None:
        """Connect. Raises PrivateAddressError, and the errors of sockets."""
        if not self._may_be_private and is_private_name(self.host):
            raise PrivateAddressError(self.host, self.host)
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        self.is_private = any(is_private(str(entry[4][0])) for entry in found)
        if not self._may_be_private:
            for entry in found:
                if is_private(str(entry[4][0])):
                    raise PrivateAddressError(self.host, str(entry[4][0]))
        self.sock = _open_socket(found[:_MAX_ADDRESSES], self.timeout or CONNECT_SECONDS)
        if self._is_encrypted:
            self.sock = _trust().wrap_socket(self.sock, server_hostname=self.host)


def _make_connection(parts: SplitResult, seconds: float, *, may_be_private: bool) -> _Connection:
    try:
        return _Connection(parts, seconds, may_be_private=may_be_private)
    except http.client.InvalidURL as error:
        raise DownloadError(
            f"the address {_shown(parts.geturl())} cannot be used: {error}", "Check the address."
        ) from error


def _open_socket(found: list[Any], seconds: float) -> socket.socket:
    """Connect to the first address that answers; the addresses share the time."""
    for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(seconds / len(found))
            opened.connect(address)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.settimeout(seconds)
        except OSError:
            opened.close()
            if left == 1:
                raise
        else:
            return opened
    raise socket.gaierror(socket.EAI_NONAME, "no address")


def _trust() -> ssl.SSLContext:
    """The TLS context with the authorities that the environment names, or else those of certifi."""
    import certifi

    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
    return ssl.create_default_context(cafile=None if named else certifi.where())


def _check_status(url: str, response: http.client.HTTPResponse) -> None:
    if response.status in (200, 206):
        return
    if response.status in _PASSING:
        rest = read_retry_after(response.headers.get("Retry-After", ""))
        told = "is busy" if response.status == 429 else "has trouble"
        raise AwayError(f"{told} (status {response.status})", rest)
    raise RefusedError(url, response.status, _lower(response))


def _check_redirect(before: SplitResult, after: SplitResult, url: str) -> None:
    """Raise DownloadError if a redirect must not be followed."""
    if before.scheme == "https" and after.scheme != "https":
        raise DownloadError(
            f"{url} leads to {after.netloc} without encryption; it is not followed", "Check the address."
        )


def _lower(response: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in response.headers.items():
        with suppress(UnicodeError):
            found[name.lower()] = str(value)
    return found
