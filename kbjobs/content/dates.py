"""Read the date on which a page was published, from the many forms that pages use."""

from __future__ import annotations

import datetime
import re
from email.utils import parsedate

EARLIEST_YEAR = 1450
"""Nothing was published before the printing press."""

EARLIEST_WEB_YEAR = 1990
"""An earlier year in an address is not a page's date: the Web began in 1990."""

_LENGTH_LIMIT = 80  # characters of a date that are considered
_ISO = re.compile(r"(\d{4})(?:[-/.](\d{1,2})(?:[-/.](\d{1,2}))?)?(?![\d-])")
_COMPACT = re.compile(r"(?:D:)?(\d{4})(\d{2})(\d{2})(?:\d{2,6}|T|Z|\b)")  # ISO 8601 basic, and PDF's D:20240517120000
_DAY_FIRST = re.compile(r"(\d{1,2})(?:st|nd|rd|th|\.)?\s+([a-z]{3,9})\.?,?\s+(\d{4})\b", re.IGNORECASE)
_MONTH_FIRST = re.compile(r"([a-z]{3,9})\.?\s+(?:(\d{1,2})(?:st|nd|rd|th)?,?\s+)?(\d{4})\b", re.IGNORECASE)
_DAY_FIRST_IN_PATH = re.compile(r"[/_-](\d{1,2})[-_.](\d{1,2})[-_.]((?:19|20)\d{2})(?=$|[-_/.])")
_IN_PATH = re.compile(
    r"/((?:19|20)\d{2})[/-](\d{1,2})(?:[/-](\d{1,2}))?(?=[-_/.])|/((?:19|20)\d{2})(\d{2})(\d{2})(?=[-_/.])"
)

# The months in the web's most frequent languages; a word that begins like this is a month.
_MONTHS = (
    "jan januar janvier ene gen stycz янв leden ledna oca ιαν",
    "feb fév fev lut фев únor února şub sub φεβ",
    "mar mär mrz maart märz marz мар březen března βρί",
    "apr avr abr kwi апр duben dubna nis απρ",
    "may mai mag maj мая май mei květ may μαΐ",
    "jun juin giu cze июн červen června haz ιούν",
    "jul juil lug lip июл červenec července tem ιούλ",
    "aug aoû aou ago sie авг srpen srpna ağu αύγ",
    "sep set wrz сен září eyl σεπ",
    "oct okt ott out paź окт říj eki οκτ",
    "nov lis ноя listopad listopadu kas νοέ",
    "dec dez déc dic gru дек prosin ara δεκ",
)
_MONTH_OF = {word: month for month, words in enumerate(_MONTHS, start=1) for word in words.split()}
_LONGEST_BEGINNING = max(map(len, _MONTH_OF))
_SHORTEST_BEGINNING = 3
_NUMBER = re.compile(r"\d\d")  # every date has this, but few lines do
_WORD = r"[^\W\d_]{3,12}"
_WRITTEN = re.compile(
    rf"(?<![\d.])(\d{{1,2}})(?:st|nd|rd|th|er|º|ª|\.)?\s+(?:de\s+|d[’'])?({_WORD})\.?,?\s+(?:de\s+|del\s+)?(\d{{4}})\b"
    rf"|\b({_WORD})\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?(?:,\s*|\s+)(\d{{4}})\b"
    r"|(?<!\d)(\d{4})\s?[年년]\s?(\d{1,2})\s?[月월]\s?(\d{1,2})\s?[日일]"
    r"|(?<![\d./-])(\d{4})([-/.])(\d{1,2})\11(\d{1,2})(?![\d/-]|\.\d)"
    r"|(?<![\d./-])(\d{1,2})\s?([-/.|])\s?(\d{1,2})\s?\15\s?(\d{4}|\d{2})(?![\d/-]|\.\d)"
)


def read_date(text: str) -> str:
    """Read a date into ISO 8601, as exact as ``text`` gives it; '' if it is not a date, or impossible.

    ISO 8601, RFC 2822, the dates of PDF files, and English dates with the month's name are understood. Numbers alone
    (05/06/2024) are not, since they are ambiguous.
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


def find_date(text: str, month_first: bool = False) -> str:
    """Find the first complete date within ``text``, as ISO 8601; '' if there is none.

    Dates with the month's name in the languages of :data:`_MONTHS`, and dates in numbers, are understood.

    Args:
        text: the text to search, a line or a paragraph.
        month_first: whether 05/06/2024 means the sixth of May, as on American pages.
    """
    for found in _WRITTEN.finditer(text) if _NUMBER.search(text) else ():
        if found[1]:
            date = _write(found[3], _month(found[2]), found[1])
        elif found[4]:
            date = _write(found[6], _month(found[4]), found[5])
        elif found[7]:
            date = _write(found[7], found[8], found[9])
        elif found[10]:
            date = _write(found[10], found[12], found[13])
        else:
            first, second = found[14], found[16]
            is_american = (month_first and found[15] == "/" and int(first) <= 12) or int(second) > 12
            year = found[17] if len(found[17]) == 4 else f"20{found[17]}"
            date = _write(year, *((first, second) if is_american else (second, first)))
        if date:
            return date
    return ""


def date_in_path(path: str) -> str:
    """Find the date in a URL's path (``/2024/05/17/title``, ``/2024/05/title``, ``/2024-05-17-title``), or ''."""
    found = _IN_PATH.search(path)
    if found is None:
        turned = _DAY_FIRST_IN_PATH.search(path)
        date = _write(turned[3], turned[2], turned[1]) if turned else ""
        return date if date >= str(EARLIEST_WEB_YEAR) else ""
    date = _write(*(found.groups()[:3] if found[1] else found.groups()[3:]))
    return date if date >= str(EARLIEST_WEB_YEAR) else ""


def _month(name: str) -> str:
    """Find the number of a month by its name or the beginning of it; '0' if there is none."""
    name = name.lower()
    for length in range(min(len(name), _LONGEST_BEGINNING), _SHORTEST_BEGINNING - 1, -1):
        if month := _MONTH_OF.get(name[:length]):
            return str(month)
    return "0"


def _write(year: str, month: str | None, day: str | None) -> str:
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        date = datetime.date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return ""
    if not EARLIEST_YEAR <= date.year <= today.year + 1:
        return ""
    return date.isoformat()[: 10 if month and day else 7 if month else 4]
