"""Find key terms of classes of documents, by class-based TF-IDF.

The weight of a term in a class is its share of the class's words times log(1 + A / f), where A is the mean number of
words of a class and f the term's frequency in all of them (M. Grootendorst, "BERTopic: Neural topic modeling with a
class-based TF-IDF procedure", 2022, arXiv:2203.05794, section 3.3).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kbjobs.content import search_words as searched
from kbjobs.content.unspaced import grow, is_pair, split_unspaced

MIN_LETTERS, MAX_LETTERS = 3, 30
MAX_SHARE = 0.5  # a word in more than half of the documents distinguishes them in no language
ENOUGH_DOCUMENTS = 8  # below this, a share says little

# Latin, Greek and Cyrillic letters, punctuation and symbols: in texts of only these, words are easy to find.
_BEYOND = re.compile("[^\0-\u02ff\u0370-\u0482\u048a-\u052f\u1e00-\u1fff\u2000-\u2bff]")
_PLAIN_WORD = re.compile(r"[^\W_]+")
_JOINERS = "\u200c\u200d"  # they join and separate letters within the words of Persian and of Indic scripts
# What search includes in a word but terms do not: apostrophes, and the stops of Indic scripts and of Tibetan.
_STOPS = re.compile(
    "['’" + "".join(char for char in map(chr, range(0x0900, 0x1000)) if unicodedata.category(char)[0] in "PS") + "]"
)
# Vowel signs of Arabic and points of Hebrew, which are often omitted, and the sign that only stretches a word.
_LEFT_OUT = re.compile("[\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]")
# Words that any English sentence may need. For other languages the weights and MAX_SHARE have to do.
_ENGLISH = """
able about above according across actually after again against all almost along already also although always among and
another any anybody anyone anything are aren around away back because become been before begin behind being below best
better between both but came can cannot come could did does doesn doing don done down during each easily eight either
else end enough etc even every everyone everything example far few find first five following for found four from full
further gave get give given gives goes going gone good got great had half has have having her here him himself his how
however inside instead into isn its itself just keep kept large last later least less let like likely little long look
lot low made make makes making many may maybe means might mind more most much must nearly need needs neither never new
next nine nobody none nor not note nothing now off often old once one only onto other others our out outside over own
part per perhaps possible put quite rather really right said same say says second see seem seen seven several shall
she should show side simple simply since six small some somebody someone something sometimes soon still such sure take
taken takes tell ten than that the their them themselves then there these they thing things think this those though
three through thus till time times together too took toward try turn twice two under until upon use used useful user
uses using usual usually very via want was wasn way ways well went were what whatever when where whether which while
who whole whom whose why will with within without won would yes yet you your yourself
"""
_STOPWORDS = frozenset(_ENGLISH.split())


@dataclass(frozen=True, slots=True)
class Term:
    """A term with its weight and its number of documents.

    ``evidence``: the documents in which its share of the words is greatest, with that share.
    """

    word: str
    score: float
    documents: int
    evidence: tuple[tuple[str, float], ...]


def split_words(text: str) -> list[str]:
    """Split a text into words that can be terms: lower case, of bounded length; pairs in scripts without spaces."""
    return [word for word in _words(_plain(text)) if word not in _STOPWORDS]


def _plain(text: str) -> str:
    return _LEFT_OUT.sub("", unicodedata.normalize("NFC", text.lower()))


def _words(text: str) -> list[str]:
    found = list(_runs(text)) if _BEYOND.search(text) else _PLAIN_WORD.findall(text)
    return [
        word
        for word in found
        if (MIN_LETTERS <= len(word) <= MAX_LETTERS and not word[0].isdigit())
        or (len(word) == 2 and searched.is_unspaced(word))
    ]


def _runs(text: str) -> Iterator[str]:
    for start, end in _join_marks(text):
        run = text[start:end]
        if searched.is_unspaced(run):
            yield from split_unspaced(run)
        else:
            yield from (word for word in _STOPS.split(run) if word and unicodedata.category(word[0])[0] != "M")


def _join_marks(text: str) -> Iterator[tuple[int, int]]:
    """Find the words of a text as search splits them, but whole where a script's marks would split them."""
    begun: tuple[int, int] | None = None
    for start, end in searched.split_words(text):
        if begun is not None and _are_marks(text[begun[1] : start]):
            begun = (begun[0], end)
            continue
        if begun is not None:
            yield begun[0], _take_marks(text, begun[1])
        begun = (start, end)
    if begun is not None:
        yield begun[0], _take_marks(text, begun[1])


def _are_marks(text: str) -> bool:
    return not text.isascii() and all(char in _JOINERS or unicodedata.category(char)[0] == "M" for char in text)


def _take_marks(text: str, end: int) -> int:
    while end < len(text) and not text[end].isascii() and unicodedata.category(text[end])[0] == "M":
        end += 1
    return end


def class_weight(number: int, total: int, average: float, frequency: int) -> float:
    """Compute the weight of a term in a class.

    Args:
        number: how often the term occurs in the class.
        total: the number of words of the class.
        average: the mean number of words of a class.
        frequency: how often the term occurs in all classes.
    """
    return number / total * math.log(1 + average / frequency)


def key_terms(
    documents: Sequence[tuple[str, str, str]], count: int, excluded: frozenset[str], shown: int
) -> list[Term]:
    """Find the terms of greatest weight in all classes together.

    A class of many documents weighs more, by the root of its share.

    Args:
        documents: triples of id, class and text.
        count: the largest number of terms.
        excluded: words that are not terms.
        shown: the number of documents named as evidence for each term.
    """
    texts = [_plain(text) for _, _, text in documents]
    counted = [
        (doc_id, group, Counter(word for word in _words(text) if word not in _STOPWORDS))
        for (doc_id, group, _), text in zip(documents, texts, strict=True)
    ]
    in_documents = Counter(word for _, _, words in counted for word in words)
    weights = _weigh(counted, in_documents)
    return [
        Term(
            term,
            weights[word],
            in_documents[word] if term == word else sum(term in text for text in texts),
            _find_evidence(word, counted, shown),
        )
        for term, word in _choose(weights, count, excluded, texts).items()
    ]


def _weigh(counted: Sequence[tuple[str, str, Counter[str]]], in_documents: Counter[str]) -> dict[str, float]:
    """Compute each word's greatest weight in any class, for words that are neither too rare nor too common."""
    classes: dict[str, Counter[str]] = {}
    for _, group, words in counted:
        classes.setdefault(group, Counter()).update(words)
    sizes = Counter(group for _, group, _ in counted)
    frequency = sum(classes.values(), Counter[str]())
    average = frequency.total() / max(1, len(classes))
    is_many = len(counted) >= ENOUGH_DOCUMENTS
    min_documents, max_documents = (2, MAX_SHARE * len(counted)) if is_many else (1, len(counted))
    weights: dict[str, float] = {}
    for group, words in classes.items():
        total, prominence = max(1, words.total()), math.sqrt(sizes[group] / len(counted))
        for word, number in words.items():
            if min_documents <= in_documents[word] <= max_documents:
                weight = class_weight(number, total, average, frequency[word]) * prominence
                weights[word] = max(weights.get(word, 0.0), weight)
    return weights


def _choose(weights: dict[str, float], count: int, excluded: frozenset[str], texts: Sequence[str]) -> dict[str, str]:
    """Choose the terms of greatest weight, each in one form only, with the words they were found by."""
    chosen: dict[str, str] = {}
    for word in sorted(weights, key=lambda word: (-weights[word], word)):
        if len(chosen) == count:
            break
        if is_pair(word):
            if not any(word in other for other in chosen) and (grown := grow(word, texts)) not in excluded:
                chosen[grown] = word
        elif not forms_of(word) & (excluded | set(chosen)) and not any(word in forms_of(other) for other in chosen):
            chosen[word] = word
    return chosen


def forms_of(word: str) -> set[str]:
    """Return a word and its possible singular forms, if it is an English plural."""
    endings = (("ies", "y"), ("es", ""), ("s", ""))
    return {word, *(word.removesuffix(end) + single for end, single in endings if word.endswith(end))}


def _find_evidence(
    word: str, counted: Sequence[tuple[str, str, Counter[str]]], shown: int
) -> tuple[tuple[str, float], ...]:
    shares = [(words[word] / words.total(), doc_id) for doc_id, _, words in counted if word in words]
    return tuple((doc_id, share) for share, doc_id in sorted(shares, key=lambda pair: (-pair[0], pair[1]))[:shown])
