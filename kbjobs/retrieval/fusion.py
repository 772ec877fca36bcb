"""Merge the ranking by vectors and the ranking by words into one, with weights that belong to the query.

The figures were chosen on the Cranfield collection and checked on CISI, whose questions are much longer
(bench/bench_search.py prints both).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)

K = 15
"""The larger K, the smaller the advantage of a first rank over a second. Cormack, Clarke and Büttcher (SIGIR 2009) use
60 for rankings of thousands."""
COSINE_WEIGHT = 0.75
"""A rank says nothing of how far the best stand out; the cosine adds that."""
LONG_QUERY = 20  # different words; from here on vectors count more, up to twice as many words
LONG_WEIGHT = 1.5  # that is added to the weight of vectors then
AGREEMENT_DEPTH = 10  # documents of each ranking
LOW_AGREEMENT = 0.4  # share of them in both rankings; below it, words count less
DISAGREEMENT_WEIGHT = 0.3  # that words lose if the rankings have nothing in common
RARE = 0.5  # mean rarity of the words; from here on they count more
RARE_WEIGHT = 2.0  # that is added to the weight of words if each is in one passage alone
CODE_WEIGHT = 1.5  # that is added for a rare word with a digit, such as E1047: its vector says nothing


@dataclass(frozen=True, slots=True)
class WordStatistics:
    """How the words of a query occur in a source.

    Args:
        count: the number of different words.
        known: how many of them occur in it.
        rarity: the mean of log(passages / passages with the word) / log(passages) over those; from 0 to 1.
        has_code: whether one of those is rare and has a digit.
    """

    count: int = 0
    known: int = 0
    rarity: float = 0.0
    has_code: bool = False


@dataclass(frozen=True, slots=True)
class Weights:
    """How much a rank counts: in the ranking by vectors, and in the one by words."""

    vectors: float = 1.0
    words: float = 1.0


def weigh(statistics: WordStatistics, agreement: float) -> Weights:
    """Choose the weights for a query: long questions ask for meaning, rare words and codes for themselves.

    Args:
        statistics: the words of the query in the source that knows most of them.
        agreement: the share of the best documents that both rankings have.
    """
    if not statistics.count:
        return Weights()
    length = min(1.0, max(0.0, (statistics.count - LONG_QUERY) / LONG_QUERY))
    words = 1.0 - DISAGREEMENT_WEIGHT * max(0.0, 1.0 - agreement / LOW_AGREEMENT)
    words += RARE_WEIGHT * max(0.0, statistics.rarity - RARE) / (1.0 - RARE) + CODE_WEIGHT * statistics.has_code
    return Weights(1.0 + LONG_WEIGHT * length, words * statistics.known / statistics.count)


def agreement_of(rankings: Sequence[Sequence[Item]]) -> float:
    """Return the share of the best items that all rankings have, from 0 to 1."""
    depth = min(AGREEMENT_DEPTH, *map(len, rankings))
    return len(set.intersection(*(set(ranking[:depth]) for ranking in rankings))) / depth if depth else 0.0


def fuse(
    rankings: Sequence[Sequence[Item]], weights: Sequence[float] = (), cosines: Mapping[Item, float] | None = None
) -> list[Item]:
    """Order the items of all rankings, best first.

    An item gets K / (K + its rank) from each ranking, times its weight, and its cosine times COSINE_WEIGHT. Equal sums
    are ordered by the first ranking that has the item, and by its place there.

    Args:
        rankings: items, best first; ranks are counted from 1.
        weights: one for each ranking; 1 if none are given.
        cosines: of the items, as far as they are known.
    """
    sums: dict[Item, float] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, item in enumerate(ranking, start=1):
            sums[item] = sums.get(item, 0.0) + weight * K / (K + rank)
    known = cosines or {}
    return sorted(sums, key=lambda item: -sums[item] - COSINE_WEIGHT * known.get(item, 0.0))  # sorting is stable
