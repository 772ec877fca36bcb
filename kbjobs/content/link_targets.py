"""Find the document that a link leads to: one form for all spellings of a page's address."""

from __future__ import annotations

import os
from urllib.parse import quote, unquote, urlsplit

from kbjobs.content.document_reading import join_base
from kbjobs.content.source_files import FoundFile

_INDEX_PAGES = ("/index.html", "/index.htm", "/index.xhtml")


def address_key(url: str) -> str:
    """Return a form of ``url`` that is equal for all spellings of one page's address.

    Fragment and scheme are dropped (http and https serve the same pages), the host is in lower case, quoting is undone,
    and a folder stands for its index page.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    path = unquote(parts.path) or "/"
    for page in _INDEX_PAGES:
        if path.endswith(page):
            path = path[: -len(page) + 1]
    scheme = "" if parts.scheme in ("http", "https") else f"{parts.scheme}:"
    query = f"?{parts.query}" if parts.query else ""
    return f"{scheme}//{parts.netloc.lower()}{path}{query}"


def addresses_of(found: FoundFile, base_url: str) -> list[str]:
    """Return the URLs under which neighbours link to a file: its place below the base URL, and its path."""
    path = "file://" + quote(os.fsencode(found.path))
    return [join_base(base_url, found), path] if base_url else [path]
