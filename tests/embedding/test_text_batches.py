"""How texts are put together: everyone once, within the budget, with little padding."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from kbjobs.embedding.text_batches import LENGTH_STEP, plan_batches

BATCH_TOKENS = 2048


@given(st.lists(st.integers(1, 512), max_size=300))
def test_every_text_once_and_none_cut(lengths: list[int]) -> None:
    plan = list(plan_batches(lengths, 512, BATCH_TOKENS))
    assert sorted(position for batch, _ in plan for position in batch) == list(range(len(lengths)))
    for batch, padded in plan:
        assert max(lengths[position] for position in batch) <= padded <= 512
        assert len(batch) == 1 or len(batch) * padded <= BATCH_TOKENS
        assert padded % LENGTH_STEP == 0


def test_a_window_that_is_no_multiple_is_not_exceeded() -> None:
    assert list(plan_batches([100, 99], 100, BATCH_TOKENS)) == [([0, 1], 100)]


def test_full_chunks_go_by_eight() -> None:
    assert [len(batch) for batch, _ in plan_batches([256] * 20, 256, BATCH_TOKENS)] == [8, 8, 4]


def test_little_is_padded() -> None:
    choice = random.Random(3)
    lengths = [choice.randint(3, 256) for _ in range(400)]
    padded = sum(len(batch) * width for batch, width in plan_batches(lengths, 256, BATCH_TOKENS))
    assert padded < 1.15 * sum(lengths)
