"""Normalising addresses, and deciding whether an address belongs to the site."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from kbjobs.errors import UsageError

URL_LIMIT = 2_000
"""Longest address that is followed, in characters."""

MAX_PARAMETERS = 10
"""Most parameters of a query; more suggest a form or a trap."""

MAX_EQUAL_SEGMENTS = 3
"""Most equal segments of a path; more suggest a path that grows with each visit (by a wrongly relative link)."""

# Parameters that say where visitors come from or who they are, not which page they want.
_TRACKING = re.compile(
    r"(?:utm_\w+|gclid|gbraid|wbraid|fbclid|msclkid|yclid|dclid|igshid|mc_[ce]id|_ga|_gl|_hs\w+|ref_src|spm|"
    r"phpsessid|jsessionid|aspsessionid\w*|sessionid|session_id|sid|cfid|cftoken)\Z",
    re.IGNORECASE,
)
_SESSION_IN_PATH = re.compile(r";(?:jsessionid|phpsessid|sid)=[^/?;]*", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f\"<>\\^`{|}]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SAFE = "/:@!$&'()*+,;=~-._?"
_UNRESERVED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"  # RFC 3986, section 2.3
_QUOTED = re.compile(r"%([0-9a-fA-F]{2})")
_LONE_PERCENT = re.compile(r"%(?![0-9a-fA-F]{2})")


def normalise(url: str, base: str = "") -> str | None:
    """Turn all spellings of an address into one; None if it is not a web page's address.

    The host is in lower case and ASCII (IDNA), without default port and credentials; fragment, tracking parameters and
    session ids are removed, the dots of the path are resolved, and only characters that need it are quoted.
    """
    url = url.strip()
    if len(url) > URL_LIMIT:
        return None
    try:
        parts = urlsplit(urljoin(base, url) if base else url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not host or "\0" in unquote(parts.path):
        return None
    try:
        name = host.rstrip(".").encode("ascii").decode().lower() if host.isascii() else _to_ascii(host)
    except UnicodeError:
        return None
    if not name or _UNSAFE.search(name):
        return None
    if ":" in name:
        name = f"[{name}]"
    place = name if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{name}:{port}"
    path = _requote(_resolve_dots(_SESSION_IN_PATH.sub("", parts.path)))
    found = urlunsplit((parts.scheme, place, path or "/", _clean_query(parts.query), ""))
    return found if len(found) <= URL_LIMIT else None


def normalise_route(url: str) -> str | None:
    """As :func:`normalise`, but a hash route (``/#/guide``, ``/#!/guide``) stays: scripts show another page for it."""
    found = normalise(url)
    route = url.strip().partition("#")[2]
    if found is None or not route.startswith(("/", "!/")):
        return found
    whole = f"{found}#{_requote(route)}"
    return whole if len(whole) <= URL_LIMIT else None


def site_of(url: str) -> str:
    """The host and port of a normalised address."""
    return urlsplit(url).netloc.rpartition("@")[2]


def is_trap(url: str) -> bool:
    """Whether an address looks like one of an endless series."""
    parts = urlsplit(url)
    segments = [segment for segment in parts.path.split("/") if segment]
    repeats = any(segments.count(segment) > MAX_EQUAL_SEGMENTS for segment in set(segments))
    return repeats or parts.query.count("&") >= MAX_PARAMETERS


@dataclass(frozen=True, slots=True)
class SiteScope:
    """The addresses that a run may fetch: those of the site, of its subdomains if allowed, that match the patterns.

    A pattern may contain ``*`` and ``?``, and is compared with the path and query, or with the whole address if it
    begins with http. Without ``include``, all are included; ``exclude`` takes precedence.
    """

    hosts: frozenset[str]
    allows_subdomains: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def is_on_site(self, url: str) -> bool:
        """Whether an address belongs to the site at all."""
        host = site_of(url)
        if host in self.hosts:
            return True
        return self.allows_subdomains and any(host.endswith("." + site.removeprefix("www.")) for site in self.hosts)

    def has(self, url: str) -> bool:
        """Whether an address may be fetched as a page."""
        if not self.is_on_site(url) or is_trap(url):
            return False
        included = not self.include or any(_matches(url, pattern) for pattern in self.include)
        return included and not any(_matches(url, pattern) for pattern in self.exclude)


def check_patterns(patterns: Sequence[str]) -> None:
    """Raise UsageError if a pattern can match nothing."""
    for pattern in patterns:
        if not pattern.startswith(("/", "*", "http://", "https://")):
            raise UsageError(
                f"the pattern {pattern!r} can match nothing",
                "Begin it with / or *: it is compared with the path, as in '/wiki/*' or '*.pdf'.",
            )


def _matches(url: str, pattern: str) -> bool:
    if pattern.startswith(("http://", "https://")):
        return fnmatchcase(url, pattern)
    parts = urlsplit(url)
    return fnmatchcase(parts.path + (f"?{parts.query}" if parts.query else ""), pattern)


def _to_ascii(host: str) -> str:
    import idna

    return idna.encode(host.rstrip("."), uts46=True).decode().lower()


def _clean_query(query: str) -> str:
    kept = [part for part in query.split("&") if part and not _TRACKING.match(part.partition("=")[0])]
    return _requote("&".join(kept))


def _requote(text: str) -> str:
    """Quote only characters that need it: ``%7e`` becomes ``~``, but ``%2f`` does not become ``/``."""

    def decode(found: re.Match[str]) -> str:
        character = chr(int(found[1], 16))
        return character if character in _UNRESERVED else found[0].upper()

    return quote(_LONE_PERCENT.sub("%25", _QUOTED.sub(decode, text)), safe="%" + _SAFE, errors="replace")


def _resolve_dots(path: str) -> str:
    """Remove ``.`` and ``..`` from a path as in RFC 3986, section 5.2.4; quoted dots count as dots."""
    kept: list[str] = []
    segments = path.split("/")
    for number, segment in enumerate(segments):
        plain = segment.replace("%2e", ".").replace("%2E", ".")
        is_last = number == len(segments) - 1
        if plain == "..":
            if len(kept) > 1:
                kept.pop()
            if is_last:
                kept.append("")
        elif plain == ".":
            if is_last:
                kept.append("")
        else:
            kept.append(segment)
    return "/".join(kept)
