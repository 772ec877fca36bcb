"""What is asked of a URL before and after it is fetched."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def is_web_url(url: str) -> bool:
    """Whether a URL is absolute, of http or https, and one whose parts can be told."""
    try:
        parts = urlsplit(url)
        return parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def host_of(url: str) -> str:
    """What a gap and a robots.txt count for: the host, with its port where that is not the scheme's own.

    Raises:
        ValueError: it is no web URL.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def without_password(url: str) -> str:
    """A URL, or a text with URLs in it, as it may be shown: without users and passwords."""
    return re.sub(r"((?:\b[A-Za-z][A-Za-z0-9+.-]*:)?//)[^/?#\s'\"]*@", r"\1", url)
