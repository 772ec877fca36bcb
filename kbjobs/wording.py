"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 document, 2 documents, 1,200 passages.

    Args:
        number: how many.
        noun: in the singular.
        plural: where it is not the singular with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def agreeing(number: int, noun: str, one: str, more: str) -> str:
    """A number with its noun and a verb that agrees: 1 job waits, 2 jobs wait."""
    return f"{counted(number, noun)} {one if number == 1 else more}"
