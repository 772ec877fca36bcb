"""Formatting numbers, durations and languages for sentences."""

from __future__ import annotations

from collections.abc import Mapping

MAX_LANGUAGES = 8


def counted(number: int, noun: str, plural: str = "") -> str:
    """Format a number with its noun: 1 document, 2 documents, 1,200 passages.

    Args:
        number: the number.
        noun: the noun in the singular.
        plural: the plural, if it is not the singular with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def agreeing(number: int, noun: str, one: str, more: str) -> str:
    """Format a number with its noun and a verb that agrees: 1 job waits, 2 jobs wait.

    Args:
        number: the number.
        noun: the noun in the singular, whose plural ends in s.
        one: the verb in the singular.
        more: the verb in the plural.
    """
    return f"{counted(number, noun)} {one if number == 1 else more}"


def format_languages(counts: Mapping[str, int]) -> str:
    """Format the number of documents per language: "en 1,200, de 3"; of many, the first ones and how many more."""
    told = [f"{code or 'unknown'} {count:,}" for code, count in counts.items()]
    rest = len(told) - MAX_LANGUAGES
    return ", ".join([*told[:MAX_LANGUAGES], f"{rest} more"] if rest > 0 else told)


def sentence(text: str) -> str:
    """Make a text a sentence, with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def duration(seconds: float | None) -> str:
    """Format seconds for people: 4.2s, 3m 20s, 2h 05m; — for None."""
    if seconds is None:
        return "—"
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"
