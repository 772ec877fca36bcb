"""Words of scripts without spaces: pairs of characters, as in the search, and the words that pairs grow to.

A character includes everything that belongs to it: vowel signs and tone marks, and in Thai and Lao the vowels written
before and after a consonant, so that no pair begins or ends within one. Katakana is used only for whole words, which
are kept; Hiragana mostly for endings and particles, which are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from kbjobs.content.search_words import is_unspaced

ALWAYS = 0.75  # of its occurrences with the same neighbour: then the neighbour belongs to the word
FEWEST = 3  # occurrences needed for that
MAX_CLUSTERS = 8

_KANA = "\u3040-\u30ff\u31f0-\u31ff"
_SOUTH_EAST = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_MARKS = "".join(
    re.escape(char)
    for first, last in ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3099, 0x309A))
    for char in map(chr, range(first, last + 1))
    if unicodedata.category(char) in ("Mn", "Mc")
)
_BEFORE, _BEHIND = "\u0e40-\u0e44\u0ec0-\u0ec4", "\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3"
_STACKED = "[\u1039\u17d2]."  # the sign that puts the next consonant below the previous one
_FINAL = "[\u1000-\u1021]\u1037?\u103a"  # a Burmese consonant that ends a syllable
_CLUSTER = re.compile(rf"[{_BEFORE}]?[^{_BEFORE}](?:{_STACKED}|{_FINAL}|[{_MARKS}{_BEHIND}])*")
_PARTICLES = ("的", "了")  # no Chinese word that could be a tag begins with these
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff]{2,}")
_RUN = re.compile(rf"[^{_KANA}{_SOUTH_EAST}]+|[{_SOUTH_EAST}]+")


def split_unspaced(run: str) -> list[str]:
    """Split a run into terms: whole words in Katakana, pairs of characters in other scripts."""
    found = _KATAKANA.findall(run)
    for part in _RUN.findall(run):
        clusters = _CLUSTER.findall(part)
        found += [
            first + second
            for first, second in pairwise(clusters)
            if _is_letter(first) and _is_letter(second) and first not in _PARTICLES
        ]
    return found


def _is_letter(cluster: str) -> bool:
    return unicodedata.category(cluster[0])[0] == "L"


def is_pair(word: str) -> bool:
    """Whether a term is a pair of such a script, which may be part of a longer word."""
    return is_unspaced(word) and len(_CLUSTER.findall(word)) == 2 and _RUN.fullmatch(word) is not None


def grow(pair: str, texts: Sequence[str]) -> str:
    """Grow a pair to its word, by the neighbours that it nearly always has in the texts."""
    clusters = _CLUSTER.findall(pair)
    while len(clusters) < MAX_CLUSTERS:
        word = "".join(clusters)
        grown = _usual(_behind(word, texts), clusters, behind=True) or _usual(
            _before(word, texts), clusters, behind=False
        )
        if grown is None:
            break
        clusters = grown
    return "".join(clusters)


def _usual(neighbours: Iterable[str], clusters: list[str], behind: bool) -> list[str] | None:
    counts = Counter(neighbours)
    if counts.total() < FEWEST:
        return None
    best, number = max(counts.items(), key=lambda pair: (pair[1], pair[0]))
    if not best or number < ALWAYS * counts.total():
        return None
    return [*clusters, best] if behind else [best, *clusters]


def _behind(word: str, texts: Sequence[str]) -> Iterator[str]:
    """Yield the cluster after each occurrence of a word; empty if there is none of its script."""
    for text in texts:
        start = text.find(word)
        while start >= 0:
            start += len(word)
            yield _letter(_CLUSTER.match(text, start))
            start = text.find(word, start)


def _before(word: str, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        start = text.find(word)
        while start >= 0:
            # A cluster has only a few characters, so these contain the last one before the word.
            found = list(_CLUSTER.finditer(text, max(0, start - 8), start))
            yield _letter(found[-1] if found else None)
            start = text.find(word, start + len(word))


def _letter(found: re.Match[str] | None) -> str:
    cluster = found[0] if found is not None else ""
    return cluster if is_unspaced(cluster) and _RUN.fullmatch(cluster) and _is_letter(cluster) else ""
