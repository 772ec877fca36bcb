"""What a tag may look like, whoever names it: a short, printable name and nothing that a page could hide in it."""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS, MAX_WORDS = 40, 5
MAX_MARKS = 3  # combining marks on one letter: more of them draw over the lines around

_SIGNS = frozenset(" -'’&+#./")
# They join and part letters within the words of Persian and of Indic scripts, and show nothing themselves.
_JOINERS = frozenset("\u200c\u200d")


def clean_tag(text: object) -> str:
    """The name in its plain form (NFC, single spaces); empty if it cannot be a tag."""
    if not isinstance(text, str) or len(text) > 10 * MAX_CHARACTERS:
        return ""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name or len(name) > MAX_CHARACTERS or len(name.split()) > MAX_WORDS or name[0] in _SIGNS:
        return ""
    letters = marks = 0
    for char in name:
        kind = unicodedata.category(char)
        marks = marks + 1 if kind[0] == "M" else 0
        if marks > MAX_MARKS or not (kind[0] in "LMN" or char in _SIGNS or char in _JOINERS):
            return ""
        letters += kind[0] == "L"
    # One letter says something in scripts such as Han only.
    is_word = letters and len(name) > 1
    return name if is_word or any(unicodedata.category(char) == "Lo" for char in name) else ""


def fold_tag(name: str) -> str:
    """What is the same for the same tag, however it is written."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
