"""What a site is sent so that it lets kbjobs in: a header and cookies, to that site alone, and never in the clear."""

from __future__ import annotations

import base64
import re
from copy import copy
from dataclasses import dataclass
from http.cookiejar import Cookie, LoadError, MozillaCookieJar
from pathlib import Path
from urllib.parse import urlsplit

from kbjobs.config.home import Home
from kbjobs.config.secrets import find_secret
from kbjobs.errors import UnavailableError, UsageError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_COOKIES_FILE = 1 << 20  # bytes

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110, 5.6.2: token
_NOT_SENT = frozenset({
    "accept-encoding", "connection", "content-length", "content-type", "cookie", "expect", "host", "keep-alive",
    "range", "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
})  # fmt: skip
_PASSWORD_FIELD = re.compile(rb"<input\b[^<>]{0,1000}?\btype\s*=\s*[\"']?\s*password\b", re.IGNORECASE)
_LOOKED_AT = 512 * 1024  # bytes of a page


def secret_name(source_id: str) -> str:
    """The name of the secret that holds the header of a source's site."""
    return f"scrape.{source_id}"


@dataclass(frozen=True, slots=True)
class SiteLogin:
    """A header and cookies for one site.

    Args:
        origin: the site: scheme, host and port.
        headers: the header, if there is one.
        cookies: its cookies, which no other host or port is sent.
    """

    origin: str
    headers: tuple[tuple[str, str], ...]
    cookies: tuple[Cookie, ...]

    def headers_for(self, url: str) -> dict[str, str]:
        """The headers that a request for an address carries."""
        return dict(self.headers) if origin_of(url) == self.origin else {}


def read_login(home: Home, source_id: str, url: str, cookies: str | None) -> SiteLogin | None:
    """Read what the site of a source is sent; None if there is nothing.

    Args:
        home: the home, with its secrets.
        source_id: the source.
        url: the start address of its site.
        cookies: a file of cookies in Netscape's format.

    Raises:
        UsageError: the header or the file cannot be used, or the site is reached in the clear.
        UnavailableError: the file or the secrets cannot be read.
    """
    header = find_secret(home, secret_name(source_id))
    if header is None and cookies is None:
        return None
    check_site(url)
    headers = () if header is None else (read_header(header),)
    return SiteLogin(origin_of(url), headers, () if cookies is None else _read_cookies(Path(cookies), url))


def check_site(url: str) -> None:
    """Raise UsageError if what is sent to a site could be read on its way."""
    parts = urlsplit(url)
    if parts.scheme != "https" and (parts.hostname or "") not in LOOPBACK:
        raise UsageError(
            f"a login is not sent to {parts.scheme}://{parts.netloc}, where others can read it",
            "Give an address that begins with https://.",
        )


def read_header(text: str) -> tuple[str, str]:
    """Read a header: ``Name: value``, ``bearer TOKEN`` or ``basic USER:PASSWORD``. The error does not quote it.

    Raises:
        UsageError: it is none of these, or a header that kbjobs itself sets.
    """
    scheme, _, rest = text.strip().partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        name, value = "Authorization", f"Bearer {rest.strip()}"
    elif scheme.lower() == "basic" and ":" in rest:
        name, value = "Authorization", f"Basic {base64.b64encode(rest.strip().encode()).decode('ascii')}"
    else:
        name, _, value = (part.strip() for part in text.partition(":"))
    if not _NAME.fullmatch(name) or not value or not value.isascii() or not value.isprintable():
        raise UsageError("this is no header", "Write 'Name: value', 'bearer TOKEN' or 'basic USER:PASSWORD'.")
    if name.lower() in _NOT_SENT or name.lower().startswith(("proxy-", "sec-", "if-")):
        raise UsageError(f"the header {name} is set by kbjobs itself", "For cookies there is --cookies FILE.")
    return name, value


def _read_cookies(path: Path, url: str) -> tuple[Cookie, ...]:
    """The cookies of a file that are for a site, bound to its host, port and, with https, to https."""
    try:
        if path.stat().st_size > MAX_COOKIES_FILE:
            raise UsageError(f"{path} is larger than {MAX_COOKIES_FILE >> 20} MB", "Export the cookies of one site.")
        jar = MozillaCookieJar(str(path))
        jar.load(ignore_discard=True)
    except LoadError as error:  # its message quotes a line
        raise UsageError(f"{path} is no file of cookies", "It is in Netscape's format (cookies.txt).") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no file of cookies", "It is in Netscape's format (cookies.txt).") from error
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror}", "Check its name and permissions.") from error
    scheme, host, port = origin_of(url).split(" ")
    found = []
    for cookie in jar:
        domain = cookie.domain.lstrip(".").lower()
        if host == domain or (cookie.domain_initial_dot and host.endswith(f".{domain}")):
            own = copy(cookie)
            own.domain, own.domain_specified, own.domain_initial_dot = host, False, False
            own.port, own.port_specified = port, True
            own.secure = scheme == "https"
            found.append(own)
    if not found:
        raise UsageError(
            f"{path} has no valid cookie of {host}", "Log in with a browser, and export its cookies again."
        )
    return tuple(found)


def origin_of(url: str) -> str:
    """The scheme, host and port of an address, separated by spaces."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme.lower()} {(parts.hostname or '').lower()} {port}"


def asks_for_password(body: bytes) -> bool:
    """Whether a page has a field for a password."""
    return _PASSWORD_FIELD.search(body[:_LOOKED_AT]) is not None
