"""Splitting text into sentences by rules, in all scripts, even where no space follows a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass

WRAPPED = 50
"""A line of at least this many characters without a mark at its end counts as wrapped: its sentence continues."""

_CLOSERS = r"[\"'”’»)\]}」』）】]{0,3}"
_END = re.compile(
    rf"(?P<wide>[。！？｡।॥᠃։።፧។៕။]++{_CLOSERS}\s*)"  # no space need follow them
    rf"|(?P<narrow>[.!?…؟۔]++{_CLOSERS}\s+)"
    r"|(?P<line>[ \t\r]*\n\s*)"
)
# Abbreviations with a full stop before a name, and before a number.
_TITLES = "mr mrs ms dr prof sr jr st vs eg e.g ie i.e cf approx ca p.ej ej sra srta ud uds av bzw z.b d.h u.a ggf evtl"
_COUNTED = "no nos nr num núm fig figs vol p pp pág art cap str env"
_BEFORE_NAMES = frozenset(f"{_TITLES} mme mlle dott ing lic sig".split())
_BEFORE_NUMBERS = frozenset(_COUNTED.split())
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«]+$")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, and the white space before it (the last one may have no text)."""

    gap: str
    text: str


def split_sentences(text: str) -> list[Sentence]:
    """Split a text into sentences; joined in order, their gaps and texts give the text again."""
    found: list[Sentence] = []
    start = len(text) - len(text.lstrip())
    gap = text[:start]
    for end in _END.finditer(text, start):
        if end.start() < start or not _is_end(text, start, end):
            continue
        body = text[start : end.end()].rstrip()
        if body:
            found.append(Sentence(gap, body))
            gap = text[start + len(body) : end.end()]
        start = end.end()
    rest = text[start:].rstrip()
    if rest:
        found.append(Sentence(gap, rest))
        gap = text[start + len(rest) :]
    if gap or not found:
        found.append(Sentence(gap, ""))
    return found


def _is_end(text: str, start: int, end: re.Match[str]) -> bool:
    following = text[end.end() : end.end() + 1]
    if end["wide"] is not None or not following:
        return True
    if end["line"] is not None:
        line = text[text.rfind("\n", 0, end.start()) + 1 : end.start()].strip()
        is_one = end[0].count("\n") == 1
        return not (is_one and (following.islower() or len(line) >= WRAPPED))
    if following.islower():
        return False
    if end[0][0] != ".":
        return True
    word = _LAST_WORD.search(text, start, end.start())
    if word is None:
        return True
    return not is_abbreviation(word[0], following)


def is_abbreviation(word: str, following: str) -> bool:
    """Whether the full stop after a word belongs to it; ``following`` is the next text, or its start."""
    if word.lower() in _BEFORE_NUMBERS:
        return following[:1].isdigit()
    return word.lower() in _BEFORE_NAMES or (len(word) == 1 and word.isupper())


def unwrap(text: str) -> str:
    """Put a sentence on one line."""
    return " ".join(text.split()) if "\n" in text else text


def wrap_like(original: str, translated: str) -> str:
    """Give a translated sentence as many line breaks as the original has, at about the same places."""
    breaks = [(found.start() / len(original), found[0]) for found in re.finditer(r"\s*\n\s*", original)]
    last = len(translated)
    for share, gap in reversed(breaks):
        wanted = min(round(share * len(translated)), last)
        places = (translated.rfind(" ", 0, wanted), translated.find(" ", wanted, last))
        place = min((one for one in places if one > 0), key=lambda one: abs(one - wanted), default=-1)
        if place > 0:
            translated = translated[:place] + gap + translated[place + 1 :]
            last = place
        else:
            translated = translated[:wanted] + gap + translated[wanted:]
            last = wanted
    return translated
