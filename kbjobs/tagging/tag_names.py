"""The valid form of tags: short, printable names in which a page cannot hide anything."""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS, MAX_WORDS = 40, 5
MAX_MARKS = 3  # most combining marks on one letter; more would draw over the lines around it

_SIGNS = frozenset(" -'’&+#./")
# Invisible characters that join or separate letters within words of Persian and of Indic scripts.
_JOINERS = frozenset("\u200c\u200d")


def clean_tag(text: object) -> str:
    """Normalise a name (NFC, single spaces); '' if it cannot be a tag."""
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
    # A single letter is a word only in scripts such as Han.
    is_word = letters and len(name) > 1
    return name if is_word or any(unicodedata.category(char) == "Lo" for char in name) else ""


def fold_tag(name: str) -> str:
    """Fold a tag so that all its spellings become equal."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
