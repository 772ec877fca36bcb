"""Reciprocal rank fusion."""

from __future__ import annotations

import pytest

from kbjobs.retrieval.fusion import K, fuse


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
