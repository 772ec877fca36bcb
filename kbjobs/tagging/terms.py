"""Key terms of classes of documents, by class-based TF-IDF.

The weight of a term in a class is its share of the class's words times log(1 + A / f), where A is the mean number of
words of a class and f how often the term stands in all of them (M. Grootendorst, "BERTopic: Neural topic modeling
with a class-based TF-IDF procedure", 2022, arXiv:2203.05794, section 3.3).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

MIN_LETTERS, MAX_LETTERS = 3, 30
MAX_SHARE = 0.5  # a word in more than half of the documents tells them apart in no language
ENOUGH_DOCUMENTS = 8  # below this, a share says little

_WORD = re.compile(r"[^\W_]+")
# What an English sentence needs whatever it is about. Other languages are left to the weights and to MAX_SHARE.
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
    """A term of a class with its weight there, and the documents in which it has the greatest share of the words."""

    word: str
    score: float
    documents: int
    evidence: tuple[tuple[str, float], ...]


def split_words(text: str) -> list[str]:
    """The words of a text that can be terms: letters and digits, in lower case, of a bounded length."""
    return [
        word
        for word in _WORD.findall(text.lower())
        if MIN_LETTERS <= len(word) <= MAX_LETTERS and not word[0].isdigit() and word not in _STOPWORDS
    ]


def key_terms(
    documents: Sequence[tuple[str, str, str]], count: int, excluded: frozenset[str], shown: int
) -> list[Term]:
    """The terms that stand out: of all classes together the ``count`` of greatest weight, each once.

    ``documents`` are triples of id, class and text. A class of many documents weighs more, by the root of its share.
    ``shown`` documents are named for each term.
    """
    counted = [(doc_id, group, Counter(split_words(text))) for doc_id, group, text in documents]
    in_documents = Counter(word for _, _, words in counted for word in words)
    classes: dict[str, Counter[str]] = {}
    sizes = Counter[str]()
    for _, group, words in counted:
        classes.setdefault(group, Counter()).update(words)
        sizes[group] += 1
    frequency = sum(classes.values(), Counter[str]())
    if not frequency:
        return []
    average = frequency.total() / len(classes)
    fewest = 2 if len(counted) >= ENOUGH_DOCUMENTS else 1
    most = MAX_SHARE * len(counted) if len(counted) >= ENOUGH_DOCUMENTS else len(counted)
    weights: dict[str, float] = {}
    for group, words in classes.items():
        total = max(1, words.total())
        prominence = math.sqrt(sizes[group] / len(counted))
        for word, number in words.items():
            if fewest <= in_documents[word] <= most:
                weight = number / total * math.log(1 + average / frequency[word]) * prominence
                weights[word] = max(weights.get(word, 0.0), weight)
    chosen: list[str] = []
    for word in sorted(weights, key=lambda word: (-weights[word], word)):
        if len(chosen) == count:
            break
        if not _forms(word) & (excluded | set(chosen)) and not any(word in _forms(other) for other in chosen):
            chosen.append(word)
    return [Term(word, weights[word], in_documents[word], _find_evidence(word, counted, shown)) for word in chosen]


def _forms(word: str) -> set[str]:
    """A word and what it may be the English plural of."""
    forms = {word}
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    if word.endswith("es"):
        forms.add(word[:-2])
    if word.endswith("s"):
        forms.add(word[:-1])
    return forms


def _find_evidence(
    word: str, counted: Sequence[tuple[str, str, Counter[str]]], shown: int
) -> tuple[tuple[str, float], ...]:
    shares = [(words[word] / words.total(), doc_id) for doc_id, _, words in counted if word in words]
    return tuple((doc_id, share) for share, doc_id in sorted(shares, key=lambda pair: (-pair[0], pair[1]))[:shown])
