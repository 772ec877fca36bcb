"""How numbers are rounded for the 8-bit variant of a model, and when a layer stays exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.embedding.int8_gate import Closeness, judge, read_calibration, read_held_back
from kbjobs.embedding.quantization import Observed, choose_rounding, round_input, round_matrix, round_up

COLUMNS = 64


def observe(tokens: np.ndarray) -> Observed:
    tokens = tokens.astype(np.float32)
    return Observed(("layer",), tokens.min(axis=0), tokens.max(axis=0), tokens)


def draw(*shape: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def measure_loss(observed: Observed, matrix: np.ndarray, factors: np.ndarray | None = None) -> float:
    """What the result loses with the rounding that is chosen, or with its range but no factors."""
    rounding = choose_rounding(observed, matrix)
    assert rounding is not None
    numbers, scales = round_matrix(matrix * rounding.factors)
    exact = observed.tokens @ matrix.T
    found = round_input(observed.tokens, rounding) @ (numbers * scales).T
    return float(((found - exact) ** 2).sum() / (exact**2).sum())


@given(st.floats(1e-30, 1e30))
def test_a_number_is_rounded_up_by_less_than_a_sixteenth(number: float) -> None:
    rounded = float(round_up(number))
    assert number * (1 - 1e-4) <= rounded <= number * (1 + 1 / 16)


@given(st.integers(33, 64), st.integers(-20, 20), st.floats(-1e-6, 1e-6))
def test_the_last_digits_of_a_sum_do_not_matter(digits: int, exponent: int, noise: float) -> None:
    """A range that a processor sums up a hair above or below a number of few digits is that number."""
    number = digits * 2.0**exponent
    assert round_up(number * (1 + noise)) == number


def test_a_matrix_has_a_scale_for_each_row() -> None:
    matrix = draw(8, COLUMNS) * np.array([[10.0**power] for power in range(-4, 4)], dtype=np.float32)
    matrix[3] = 0
    numbers, scales = round_matrix(matrix)
    assert numbers.dtype == np.int8
    assert scales.shape == (8, 1)
    assert numbers.min() >= -127
    assert (np.abs(numbers * scales - matrix) <= scales * 0.501).all()


def test_zero_stays_zero() -> None:
    """Most of what follows an activation is close to it."""
    tokens = np.maximum(draw(256, COLUMNS), -0.17)
    rounding = choose_rounding(observe(tokens), draw(32, COLUMNS, seed=6))
    assert rounding is not None
    assert np.abs(round_input(np.zeros((1, COLUMNS), dtype=np.float32), rounding)).max() < 1e-6


def test_a_column_that_is_far_larger_than_the_others_does_not_take_the_range() -> None:
    tokens, matrix = draw(256, COLUMNS), draw(32, COLUMNS, seed=6)
    even = measure_loss(observe(tokens), matrix)
    tokens[:, 7] *= 60
    matrix[:, 7] /= 60
    assert measure_loss(observe(tokens), matrix) < 3 * even


def test_a_layer_that_loses_too_much_stays_exact() -> None:
    """One token is far larger than the others, in all columns: no factor of a column helps the others."""
    tokens = draw(256, COLUMNS)
    tokens[0] *= 3000
    assert choose_rounding(observe(tokens), draw(32, COLUMNS, seed=6)) is None


def test_exact_vectors_are_as_close_as_can_be() -> None:
    vectors = draw(400, COLUMNS)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    closeness = judge(vectors, vectors)
    assert closeness.passes
    assert closeness.neighbours == 10
    assert closeness.cosine_min == pytest.approx(1)
    assert Closeness.from_json(closeness.as_json()) == closeness


def test_one_vector_in_another_place_is_refused() -> None:
    exact = draw(400, COLUMNS)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = exact.copy()
    found[17] = exact[18]
    closeness = judge(found, exact)
    assert closeness.cosine_mean > 0.99
    assert not closeness.passes


@pytest.mark.parametrize(
    ("figures", "passes"),
    [
        ((0.97, 0.99, 9.0), True),
        ((0.969, 0.999, 9.9), False),
        ((0.98, 0.989, 9.9), False),
        ((0.98, 0.999, 8.99), False),
    ],
)
def test_each_figure_is_required(figures: tuple[float, float, float], passes: bool) -> None:
    assert Closeness(*figures).passes is passes


def test_no_text_of_the_calibration_is_held_back() -> None:
    """Nor does a long sentence of one occur in the other."""
    calibration, held_back = read_calibration(), read_held_back()
    assert (len(calibration), len(held_back)) == (96, 400)
    known = {sentence for text in calibration for sentence in text.split(". ") if len(sentence) > 70}
    assert not [text for text in held_back if known & set(text.split(". "))]
