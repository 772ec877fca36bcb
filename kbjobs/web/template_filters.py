"""Template filters that format times, durations, percentages and numbers, and mark words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from kbjobs.formatting import duration, format_languages

_NONE = "—"
_UNSPACED = "\u0e00"  # Thai, and the scripts after it: most have no spaces between words


def _time(moment: str, shown: str) -> Markup:
    return Markup('<time datetime="{}">{} UTC</time>').format(moment, shown)


def _when(moment: str | None) -> Markup | str:
    """Format a time in UTC, ISO 8601, so that a script can show it in the reader's own time zone."""
    return _NONE if not moment else _time(moment, moment.replace("T", " ").removesuffix("Z")[:16])


def _moment(seconds: float) -> Markup:
    """Format a time in seconds since 1970."""
    there = datetime.fromtimestamp(seconds, UTC)
    return _time(f"{there:%Y-%m-%dT%H:%M:%SZ}", f"{there:%Y-%m-%d %H:%M}")


def _percent(share: float) -> str:
    return f"{math.floor(share * 10) / 10:g} %"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _figures(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a phase's counts as pairs of name and text; lists, dicts, booleans and None are left out."""
    for name, value in result.items():
        said = name.replace("_", " ")
        if name.endswith("bytes") and isinstance(value, int | float):
            yield said.removesuffix("bytes").strip() or "size", f"{value / 1e6:,.1f} MB"
        elif isinstance(value, bool) or value is None or isinstance(value, list | dict):
            continue
        elif isinstance(value, float):
            yield said, f"{value:,.2f}".rstrip("0").rstrip(".")
        else:
            yield said, f"{value:,}" if isinstance(value, int) else str(value)


def _marked(text: str, words: Iterable[str]) -> Markup:
    """Mark words in a text, ignoring case; in scripts with spaces, only whole words of two or more letters."""
    wanted = sorted(_distinct(words), key=len, reverse=True)
    patterns = [re.escape(word) if word[0] >= _UNSPACED else rf"(?<!\w){re.escape(word)}(?!\w)" for word in wanted]
    if not patterns:
        return escape(text)
    pieces, at = list[Markup](), 0
    for found in re.finditer("|".join(patterns), text, re.IGNORECASE):
        pieces += [escape(text[at : found.start()]), Markup("<mark>{}</mark>").format(found[0])]
        at = found.end()
    return Markup("").join([*pieces, escape(text[at:])])


def _distinct(words: Iterable[str]) -> list[str]:
    """Words that differ by more than their case, without single letters."""
    said = {word.casefold(): word for word in words if len(word) > 1 or word >= _UNSPACED}
    return list(said.values())


FILTERS: dict[str, Callable[..., Any]] = {
    "duration": duration,
    "languages": format_languages,
    "dashed": lambda name: str(name).replace("_", "-"),
    "when": _when,
    "moment": _moment,
    "percent": _percent,
    "first_line": _first_line,
    "figures": _figures,
    "marked": _marked,
    "distinct": _distinct,
}
"""The filters by their names in templates."""
