"""Splitting sentences into words and punctuation and joining them again like Moses, as packs with ``bpe.model`` expect.

The rules follow Moses' tokenizer.perl, detokenizer.perl and normalize-punctuation.perl
(https://github.com/moses-smt/mosesdecoder, scripts/tokenizer). The lists of abbreviations are shorter, and the rules
for Finnish endings are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from kbjobs.translation.sentences import is_abbreviation

_PLAIN = str.maketrans(
    {
        "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'", "´": "'", "`": "'",
        "–": "-", "—": " - ", "…": "...", "\u00a0": " ",
    }
)  # fmt: skip
_ESCAPES = (
    ("&", "&amp;"), ("|", "&#124;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&apos;"), ('"', "&quot;"), ("[", "&#91;"),
    ("]", "&#93;"),
)  # fmt: skip
_INSIDE = ".'-,"  # punctuation that may stand within a word or a number
_CLITICS_BEFORE = ("fr", "it")  # l' homme; English has do n't, and in other languages the apostrophe is a word
_CLOSING = re.compile(r"[,.?!:;\\%}\])]+")
_APART_IN_FRENCH = re.compile(r"[?!:;%]+")
_WITHOUT_SPACES = re.compile("[\u2e80-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff9f\U00020000-\U0003ffff]{2}")
_OPENING = re.compile(r"[(\[{¿¡$€£¥]+")


def split_words(sentence: str, language: str) -> list[str]:
    """Split a sentence of a language into words and marks; marks with a meaning in XML become entities."""
    text = re.sub(r"(?<=\d) %", "%", " ".join(sentence.translate(_PLAIN).split()))
    text = "".join(letter if _is_of_a_word(letter) else f" {letter} " for letter in text)
    text = re.sub(r"\.{2,}", r" \g<0> ", text)
    text = re.sub(r"(?<!\d),|,(?!\d)", " , ", text)
    text = _split_apostrophes(text, language)
    words = text.split()
    split: list[str] = []
    for number, word in enumerate(words):
        following = words[number + 1] if number + 1 < len(words) else ""
        if word.endswith(".") and word.strip(".") and not _keeps_stop(word[:-1], following):
            split += [word[:-1], "."]
        else:
            split.append(word)
    return [_escape(word) for word in split]


def join_words(words: Sequence[str], language: str) -> str:
    """Join words and marks into a sentence; the inverse of :func:`split_words`, as far as possible."""
    text, gap = "", ""
    is_quoted = {'"': False, "'": False}
    for escaped in words:
        word = _unescape(escaped)
        is_apart = language == "fr" and _APART_IN_FRENCH.fullmatch(word)
        if (_CLOSING.fullmatch(word) and not is_apart) or (text and _touch(text[-1], word[:1])):
            text, gap = text + word, " "
        elif _OPENING.fullmatch(word):
            text, gap = text + gap + word, ""
        elif word in is_quoted:
            opens = not is_quoted[word]
            is_quoted[word] = opens
            text, gap = (text + gap + word, "") if opens else (text + word, " ")
        elif language == "en" and re.match(r"'\w", word):
            text, gap = text + word, " "
        else:
            text += gap + word
            gap = "" if language in _CLITICS_BEFORE and re.search(r"\w'$", word) else " "
    return text


def _is_of_a_word(letter: str) -> bool:
    return letter.isalnum() or letter.isspace() or letter in _INSIDE or unicodedata.category(letter)[0] == "M"


def _split_apostrophes(text: str, language: str) -> str:
    if language != "en" and language not in _CLITICS_BEFORE:
        return text.replace("'", " ' ")
    text = re.sub(r"(?<![^\W_])'|'(?![^\W_])", " ' ", text)
    return re.sub(r"(?<=\w)'(?=\w)", "' " if language in _CLITICS_BEFORE else " '", text)


def _keeps_stop(word: str, following: str) -> bool:
    is_dotted = "." in word and any(letter.isalpha() for letter in word)
    return is_dotted or following[:1].islower() or is_abbreviation(word, following)


def _touch(before: str, after: str) -> bool:
    """Whether two characters are both Chinese or Japanese, marks included, and so have no space between them."""
    return _WITHOUT_SPACES.fullmatch(before + after) is not None


def _escape(word: str) -> str:
    for plain, entity in _ESCAPES:
        word = word.replace(plain, entity)
    return word


def _unescape(word: str) -> str:
    for plain, entity in reversed(_ESCAPES):
        word = word.replace(entity, plain)
    return word
