"""Make texts by others safe for a page: titles and snippets without tricks, addresses that are only links."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlsplit

TITLE, SNIPPET = 100, 80  # characters shown of each
SCHEMES = ("http", "https", "file")
# Removed: Unicode's direction controls, which would turn the surrounding text, and characters without width.
# Replaced by a space: line breaks and code points that are not characters.
_LEFT_OUT = [
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    0x061C,
    *range(0xE000, 0xF900),
]
_TABLE: dict[int, str | None] = {
    **dict.fromkeys((*range(32), *range(127, 160), 8232, 8233, *range(55296, 57344)), " "),
    **dict.fromkeys(_LEFT_OUT),
}
MAX_MARKS = 4  # that a letter may carry


def clean(text: str, max_length: int) -> str:
    """Put the text on one line of at most ``max_length`` characters, without invisible characters."""
    text = " ".join(text[: 2 * max_length + 100].translate(_TABLE).split())
    if not text.isascii() and not _marks().isdisjoint(text):
        text = "".join(_thin(text))
    return cut(text, max_length)


def cut(text: str, max_length: int) -> str:
    """Cut the text to ``max_length`` characters, ending in "…"."""
    return text if len(text) <= max_length else text[: max_length - 1].rstrip() + "…"


@cache
def _marks() -> frozenset[str]:
    """The combining marks: characters written above, below or around a letter."""
    return frozenset(char for char in map(chr, range(0x300, 0x20000)) if unicodedata.category(char)[0] == "M")


def _thin(text: str) -> Iterator[str]:
    """Drop combining marks beyond MAX_MARKS per letter."""
    marks = 0
    for char in text:
        marks = marks + 1 if char in _marks() else 0
        if marks <= MAX_MARKS:
            yield char


def safe_url(url: str) -> str:
    """Return the address if a browser may follow it, or else ""."""
    if not url or not url.isprintable() or any(char in url for char in " \"'<>\\`"):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    has_place = bool(parts.netloc) if parts.scheme != "file" else parts.path.startswith("/")
    return url if parts.scheme in SCHEMES and has_place else ""
