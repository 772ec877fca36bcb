"""Split texts into searchable words: folded, stemmed if the language is known, in pairs if there are no spaces.

Pages and queries are treated alike, so that "boiling" finds "boiled". Scripts without spaces become overlapping pairs
of characters, which need no dictionary.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from Stemmer import Stemmer

# Snowball's algorithms by the language's code (snowballstem.org/algorithms).
STEMMERS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch",
    "no": "norwegian", "nb": "norwegian", "nn": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
MAX_WORD = 64  # characters of a word that are kept
_KNOWN_WORDS = 200_000  # words per language whose forms are remembered

# Letters and digits of any script; vowel signs of Hebrew, Arabic and Indic scripts belong to their words.
_MARKS = "\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0dff\u0f00-\u0fff"
# Thai, Lao, Burmese, Khmer, kana, Han, and the rarer Han beyond the first plane.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED += "\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]+|(?:[^\W_]|[{_MARKS}])(?:(?![{_UNSPACED}])(?:[^\W_]|[{_MARKS}\u0300-\u036f'’]))*")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")
# Accents, Hebrew points, Arabic vowel signs: people often omit them when typing.
_LEFT_OUT = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670'’]")


def split_words(text: str) -> list[tuple[int, int]]:
    """Find where the words of a text begin and end; a run of a script without spaces is one word."""
    return [found.span() for found in _WORD.finditer(text)]


def is_unspaced(word: str) -> bool:
    """Whether a word of :func:`split_words` is a run of a script without spaces."""
    return _IS_UNSPACED.match(word) is not None


def fold_words(text: str, language: str | None) -> list[str]:
    """Return the searchable forms of a text's words, in order."""
    forms = _forms_of(_code(language))
    forms.forget_many()
    return list(chain.from_iterable(map(forms.__getitem__, _WORD.findall(text))))


def fold_text(text: str, language: str | None) -> str:
    """Return the forms of :func:`fold_words`, separated by spaces."""
    return " ".join(fold_words(text, language))


def fold_query(text: str, languages: Iterable[str | None]) -> list[tuple[str, ...]]:
    """Return all forms of each distinct word of a query: unstemmed, and stemmed for each of the languages."""
    codes = list(dict.fromkeys((None, *map(_code, languages))))
    found: dict[tuple[str, ...], None] = {}
    for word in _WORD.findall(text):
        variants = [_forms_of(code)[word] for code in codes]
        if len(variants[0]) > 1:  # pairs of characters: each of them is a word
            found.update(dict.fromkeys((pair,) for pair in variants[0]))
        else:
            found[tuple(dict.fromkeys(form for forms in variants for form in forms))] = None
    return list(found)


def find_matches(text: str, language: str | None, forms: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the words of a text that match a query, as written there, without repeats.

    Args:
        text: the text.
        language: its language tag, if known.
        forms: the forms of each word of the query.
    """
    wanted = {form for group in forms for form in group}
    of = _forms_of(_code(language))
    plain = _forms_of(None)
    return [
        word
        for word in dict.fromkeys(_WORD.findall(text))
        if not (wanted.isdisjoint(of[word]) and wanted.isdisjoint(plain[word]))
    ]


def _code(language: str | None) -> str | None:
    code = (language or "").partition("-")[0]
    return code if code in STEMMERS else None


class _Forms(dict[str, list[str]]):
    """The forms of words in a language: a dictionary that computes and remembers them."""

    def __init__(self, stemmer: Stemmer | None) -> None:
        super().__init__()
        self._stemmer = stemmer

    def __missing__(self, word: str) -> list[str]:
        forms = self[word] = self._make(word)
        return forms

    def forget_many(self) -> None:
        """Start over if too many are remembered."""
        if len(self) > _KNOWN_WORDS:
            self.clear()

    def _make(self, word: str) -> list[str]:
        if _IS_UNSPACED.match(word):
            folded = unicodedata.normalize("NFKC", word)
            return [folded[start : start + 2] for start in range(len(folded) - 1)] or [folded]
        folded = unicodedata.normalize("NFKC", word).casefold()[:MAX_WORD]
        if self._stemmer is not None:
            folded = self._stemmer.stemWord(folded)
        if not folded.isascii() or "'" in folded:
            folded = _LEFT_OUT.sub("", unicodedata.normalize("NFKD", folded))
        return [folded] if folded else []


@cache
def _forms_of(code: str | None) -> _Forms:
    if code is None:
        return _Forms(None)
    from Stemmer import Stemmer

    return _Forms(Stemmer(STEMMERS[code]))
