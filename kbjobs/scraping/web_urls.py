"""Checks and properties of web URLs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def is_web_url(url: str) -> bool:
    """Whether a URL is absolute, valid, and http or https."""
    try:
        parts = urlsplit(url)
        return parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host that a throttle and a robots.txt apply to, with its port unless that is the scheme's default.

    Raises:
        ValueError: the URL is not a web URL.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def without_password(url: str) -> str:
    """Remove users and passwords from a URL, or from the URLs in a text, so that it can be shown."""
    return re.sub(r"((?:\b[A-Za-z][A-Za-z0-9+.-]*:)?//)[^/?#\s'\"]*@", r"\1", url)
