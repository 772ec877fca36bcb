"""Find what a site's pages repeat in their titles, "Page | Site" or "Site: Page", and shorten titles by it."""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from kbjobs.content.document import clean_title
from kbjobs.content.encoding import NotText, decode_page

REPEATED_SHARE = 0.5
"""Share of a site's titles that must repeat a text for it to count as the site's name."""

REPEATED_TITLES = 3
"""And the least number of such titles, each with another rest."""

HEAD_LIMIT = 65_536
"""Bytes of a page in which its title is searched."""

_BETWEEN = re.compile(r"\s+(?:[-|–—·•»›/]|::)\s+|\s*[|»]\s*")
_AFTER_SITE = re.compile(rf"{_BETWEEN.pattern}|:\s+")
# Titles that programs write when nobody gave one.
_NO_TITLE = re.compile(
    r"microsoft (?:office )?(?:word|excel|powerpoint|publisher|visio)\b.*"
    r"|(?:untitled|unnamed|unknown|anonymous|unspecified|no title|title|none|null|document|presentation|slide|book"
    r"|powerpoint[- ]pr[äeé]sentation|dokument|pr[äé]sentation|sans titre|sin t[íi]tulo|unbenannt)[ \-_]*\d*"
    r"|(?:file:|[a-z]:\\|\\\\|/|~/).*"
    r"|.*\.(?:docx?|dotx?|pdf|tex|dvi|e?ps|ai|cdr|indd|qxd|qxp|pptx?|xlsx?|od[tps]|rtf|txt|md|html?|xml|pub|pmd|p65|fm"
    r"|wpd|wps|pages|key|tmp|jpe?g|png|tiff?|dwg)",
    re.IGNORECASE,
)

_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{0,2000})", re.IGNORECASE)


class SiteTitles(NamedTuple):
    """What titles begin and end with, the longest first, including the separator."""

    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    def shorten(self, title: str) -> str:
        """Remove the site's name from a title, unless nothing else would be left."""
        for suffix in self.suffixes:
            if title.endswith(suffix) and len(title) > len(suffix):
                title = title[: -len(suffix)].rstrip()
                break
        for prefix in self.prefixes:
            if title.startswith(prefix) and len(title) > len(prefix):
                return title[len(prefix) :].lstrip()
        return title

    def joined(self, other: SiteTitles) -> SiteTitles:
        """Merge the repeated texts of two sites."""

        def join(one: tuple[str, ...], two: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(sorted({*one, *two}, key=lambda text: (-len(text), text)))

        return SiteTitles(join(self.prefixes, other.prefixes), join(self.suffixes, other.suffixes))


NO_SITE = SiteTitles()


def find_repeated(titles: Iterable[str]) -> SiteTitles:
    """Find what the titles of a site's pages repeat."""
    prefixes: dict[str, set[str]] = defaultdict(set)
    suffixes: dict[str, set[str]] = defaultdict(set)
    count = 0
    for count, title in enumerate(titles, start=1):  # noqa: B007 — the last value is their number
        for found in _BETWEEN.finditer(title):
            suffixes[title[found.start() :]].add(title[: found.start()])
        for found in _AFTER_SITE.finditer(title):
            prefixes[title[: found.end()]].add(title[found.end() :])
    enough = max(REPEATED_TITLES, REPEATED_SHARE * count)

    def choose(rests: dict[str, set[str]]) -> tuple[str, ...]:
        return tuple(repeated for repeated, others in rests.items() if len(others - {""}) >= enough)

    return SiteTitles(choose(prefixes), choose(suffixes)).joined(NO_SITE)


def is_given_title(title: str) -> bool:
    """Whether the title in a file's metadata may be a person's choice, and not a file name or a program's default."""
    return sum(letter.isalpha() for letter in title) >= 2 and not _NO_TITLE.fullmatch(title)


def read_title(page: bytes) -> str:
    """Read the title of an HTML page without parsing the page; '' if it has none."""
    try:
        found = _TITLE.search(decode_page(page[:HEAD_LIMIT]))
    except NotText:
        return ""
    return clean_title(html.unescape(found[1])) if found else ""
