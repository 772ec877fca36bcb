"""Addresses that a terminal makes clickable (OSC 8): only those that are safe to write into an escape sequence."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

MAX_LENGTH = 2_083  # characters: what VTE and iTerm2 take (OSC 8 specification, "Length limits")
SCHEMES = ("http", "https", "file")
# They write what they do not know of an escape sequence on the screen.
UNABLE = ("linux", "vt", "eterm", "ansi", "cons", "sun", "dumb")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
_SAFE = "!#$%&'()*+,-./:;=?@[]_~"  # what stays as it is: the characters of a URI (RFC 3986)


def takes_links(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that links can be written to; not if NO_COLOR is set."""
    term = os.environ.get("TERM", "")
    return stream.isatty() and bool(term) and not term.startswith(UNABLE) and not os.environ.get("NO_COLOR")


def find_link(address: str) -> str | None:
    """Make a link of an address.

    Args:
        address: a URL, or the absolute path of a file.

    Returns:
        The URL in printable ASCII; None if the address is hostile, too long, on another host's disk, or neither of the
        web nor a file.
    """
    if not address or _CONTROLS.search(address):
        return None
    try:
        if address.startswith("/"):
            link = Path(address).as_uri()
        else:
            parts = urlsplit(address)
            has_host = bool(parts.netloc)
            if parts.scheme not in SCHEMES or has_host is (parts.scheme == "file"):
                return None
            link = quote(address, safe=_SAFE, errors="surrogateescape")
    except ValueError:  # what is between brackets is no address of a host; a surrogate that stands for no byte
        return None
    return link if len(link) <= MAX_LENGTH else None
