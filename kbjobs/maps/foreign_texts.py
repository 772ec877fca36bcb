"""What others wrote, as a page may show it: titles and snippets without tricks, addresses that only lead somewhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlsplit

TITLE, SNIPPET = 100, 80  # characters shown of each
SCHEMES = ("http", "https", "file")
# What would turn the direction of the text around it, or is not seen at all, is left out: Unicode's controls of
# direction and what has no width. What breaks lines or is no character is a space.
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
MAX_MARKS = 4  # that one letter may carry


def clean(text: str, max_length: int) -> str:
    """The text in one line of at most ``max_length`` characters, with nothing in it but what is seen."""
    text = " ".join(text[: 2 * max_length + 100].translate(_TABLE).split())
    if not text.isascii() and not _marks().isdisjoint(text):
        text = "".join(_thin(text))
    return cut(text, max_length)


def cut(text: str, max_length: int) -> str:
    """The text, with "…" in place of what is beyond ``max_length`` characters."""
    return text if len(text) <= max_length else text[: max_length - 1].rstrip() + "…"


@cache
def _marks() -> frozenset[str]:
    """What is written upon, below or around a letter."""
    return frozenset(char for char in map(chr, range(0x300, 0x20000)) if unicodedata.category(char)[0] == "M")


def _thin(text: str) -> Iterator[str]:
    """The characters without the marks that are piled upon a letter."""
    marks = 0
    for char in text:
        marks = marks + 1 if char in _marks() else 0
        if marks <= MAX_MARKS:
            yield char


def safe_url(url: str) -> str:
    """The address where a browser may follow it, else ""."""
    if not url or not url.isprintable() or any(char in url for char in " \"'<>\\`"):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    has_place = bool(parts.netloc) if parts.scheme != "file" else parts.path.startswith("/")
    return url if parts.scheme in SCHEMES and has_place else ""
