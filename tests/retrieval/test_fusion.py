"""Reciprocal rank fusion."""

from __future__ import annotations

import pytest

from kbjobs.retrieval.fusion import K, Weights, WordStatistics, agreement_of, fuse, weigh


def test_what_both_rankings_have_comes_first() -> None:
    assert fuse([["a", "b", "c"], ["d", "b", "e"]])[0] == "b"


def test_equal_sums_keep_the_order_of_the_first_ranking() -> None:
    assert fuse([["a", "b"], ["c", "d"]]) == ["a", "c", "b", "d"]
    assert fuse([["a", "b"], ["b", "a"]]) == ["a", "b"]


@pytest.mark.parametrize("rankings", [[], [[]], [[], []]])
def test_nothing_of_nothing(rankings: list[list[str]]) -> None:
    assert fuse(rankings) == []


def test_one_ranking_is_itself() -> None:
    assert fuse([["c", "a", "b"], []]) == ["c", "a", "b"]


def test_a_first_rank_is_worth_more_than_two_low_ones() -> None:
    low = K + 3  # 1 / (K + 1) against 2 / (K + low)
    filler = [str(number) for number in range(low - 1)]
    assert fuse([["top", *filler], [*filler[:0], "x"]])[0] == "top"
    both = fuse([["top", *filler, "twice"], [*filler, "twice"]])
    assert both.index("top") < both.index("twice")


def test_a_weight_and_a_cosine_count() -> None:
    assert fuse([["a", "b"], ["c", "d"]], (1, 2)) == ["c", "d", "a", "b"]
    assert fuse([["a", "b"], []], (1, 1), {"b": 0.9, "a": 0.1}) == ["b", "a"]
    assert fuse([["a", "b"], ["b"]], (1, 0)) == ["a", "b"]


def test_agreement_is_the_share_of_the_best_that_both_have() -> None:
    assert agreement_of([["a", "b", "c", "d"], ["b", "x", "a", "y"]]) == 0.5
    assert agreement_of([["a"], ["a", "b"]]) == 1
    assert agreement_of([["a"], []]) == 0
    assert agreement_of([list(range(20)), [*range(100, 110), *range(10)]]) == 0  # the best ten count


@pytest.mark.parametrize(
    ("statistics", "agreement", "weights"),
    [
        (WordStatistics(), 0.5, Weights()),
        (WordStatistics(5, 5, 0.3), 0.5, Weights(1, 1)),
        (WordStatistics(5, 5, 0.3), 0, Weights(1, 0.7)),
        (WordStatistics(30, 30, 0.3), 0.5, Weights(1.75, 1)),
        (WordStatistics(60, 60, 0.3), 0.5, Weights(2.5, 1)),
        (WordStatistics(1, 1, 1.0), 0.5, Weights(1, 3)),
        (WordStatistics(4, 4, 0.3, True), 0.5, Weights(1, 2.5)),
        (WordStatistics(4, 1, 0.3), 0.5, Weights(1, 0.25)),
        (WordStatistics(4, 0), 0.5, Weights(1, 0)),
    ],
)
def test_the_weights_belong_to_the_query(statistics: WordStatistics, agreement: float, weights: Weights) -> None:
    found = weigh(statistics, agreement)
    assert [found.vectors, found.words] == pytest.approx([weights.vectors, weights.words])
