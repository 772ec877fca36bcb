"""The date on which a page was published, from the many forms in which pages write it."""

from __future__ import annotations

import datetime
import re
from email.utils import parsedate

EARLIEST_YEAR = 1450
"""Before the printing press nothing was published."""

EARLIEST_WEB_YEAR = 1990
"""An address with an earlier year is no page's date: the Web is of 1990."""

_LENGTH_LIMIT = 80  # characters of a date that are looked at
_ISO = re.compile(r"(\d{4})(?:[-/.](\d{1,2})(?:[-/.](\d{1,2}))?)?(?![\d-])")
_COMPACT = re.compile(r"(?:D:)?(\d{4})(\d{2})(\d{2})(?:\d{2,6}|T|Z|\b)")  # ISO 8601 basic, and PDF's D:20240517120000
_DAY_FIRST = re.compile(r"(\d{1,2})(?:st|nd|rd|th|\.)?\s+([a-z]{3,9})\.?,?\s+(\d{4})\b", re.IGNORECASE)
_MONTH_FIRST = re.compile(r"([a-z]{3,9})\.?\s+(?:(\d{1,2})(?:st|nd|rd|th)?,?\s+)?(\d{4})\b", re.IGNORECASE)
_IN_PATH = re.compile(r"/((?:19|20)\d{2})/(\d{1,2})(?:/(\d{1,2}))?(?=/)|/((?:19|20)\d{2})-(\d{2})-(\d{2})(?=[-_/.])")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def read_date(text: str) -> str:
    """A date as ISO 8601 writes it, as exact as ``text`` tells it; '' for what is none, or cannot be.

    Understood are ISO 8601, RFC 2822, the dates of PDF files, and English ones with the month's name. Numbers alone
    (05/06/2024) are not: who wrote them meant the one or the other.
    """
    text = text.strip()[:_LENGTH_LIMIT]
    if found := _COMPACT.match(text):
        return _write(found[1], found[2], found[3])
    if found := _ISO.match(text):
        return _write(*found.groups())
    if found := _DAY_FIRST.search(text):
        return _write(found[3], _month(found[2]), found[1])
    if found := _MONTH_FIRST.search(text):
        return _write(found[3], _month(found[1]), found[2])
    parsed = parsedate(text)
    return _write(*map(str, parsed[:3])) if parsed else ""


def date_in_path(path: str) -> str:
    """The date that a URL's path names (``/2024/05/17/title``, ``/2024/05/title``, ``/2024-05-17-title``), or ''."""
    found = _IN_PATH.search(path)
    if found is None:
        return ""
    date = _write(*(found.groups()[:3] if found[1] else found.groups()[3:]))
    return date if date >= str(EARLIEST_WEB_YEAR) else ""


def _month(name: str) -> str:
    """The number of a month, by its English name or the beginning of it; '0' for none."""
    start = name[:3].lower()
    return str(_MONTHS.index(start) + 1) if start in _MONTHS else "0"


def _write(year: str, month: str | None, day: str | None) -> str:
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        date = datetime.date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return ""
    if not EARLIEST_YEAR <= date.year <= today.year + 1:
        return ""
    return date.isoformat()[: 10 if month and day else 7 if month else 4]
