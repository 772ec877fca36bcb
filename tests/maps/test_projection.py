"""Principal components are those of the vectors, and the same to the byte on every run and number of threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from kbjobs.maps.projection import COMPONENTS, Components, fit_into_cube, one_thread, principal_components


def reduce(rows: np.ndarray, block: int = 100) -> Components:
    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(rows), block):
            yield rows[start : start + block]

    with one_thread():
        return principal_components(blocks, len(rows), rows.shape[1])


def unit_rows(count: int, dimension: int) -> np.ndarray:
    draw = np.random.default_rng(3)
    rows = draw.standard_normal((count, dimension)) * np.linspace(3, 1, dimension)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_components_are_those_of_a_singular_value_decomposition() -> None:
    rows = unit_rows(950, 48)
    found = reduce(rows)
    centred = rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = (left * values)[:, :COMPONENTS]
    assert np.allclose(np.abs(found.rows), np.abs(expected), atol=1e-5)
    assert np.allclose(found.shares, (values**2 / (values**2).sum())[:COMPONENTS], atol=1e-5)


THREADS = """
import hashlib
from tests.maps.test_projection import reduce, unit_rows
from kbjobs.maps.projection import fit_into_cube
found = reduce(unit_rows(6000, 384), 1000)
print(hashlib.sha256(found.rows.tobytes() + fit_into_cube(found.rows).tobytes()).hexdigest(), found.shares[:3])
"""


def test_the_bytes_are_the_same_on_every_number_of_threads() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", THREADS],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "2", "3")
    }
    assert len(said) == 1 and len(said.pop().split()[0]) == hashlib.sha256().digest_size * 2


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_have_places_of_their_own(count: int) -> None:
    rows = np.eye(count, 8, dtype=np.float32)
    places = fit_into_cube(reduce(rows).rows)
    assert places.shape == (count, 3) and np.isfinite(places).all() and np.abs(places).max() <= 1
    assert len(np.unique(np.round(places, 6), axis=0)) == count


def test_identical_vectors_lie_in_one_place() -> None:
    """What rounding leaves of their difference is not blown up to fill the map."""
    rows = np.repeat(unit_rows(1, 384), 500, axis=0)
    found = reduce(rows)
    assert not found.rows.any() and set(found.shares) == {0.0}
    assert not fit_into_cube(found.rows).any()


def test_the_cube_is_filled_and_keeps_proportions() -> None:
    rows = np.array([[0, 0, 0, 9], [4, 2, 0, 9], [2, 1, 1, 9]], np.float32)
    assert np.allclose(fit_into_cube(rows), [[-1, -0.5, -0.25], [1, 0.5, -0.25], [0, 0, 0.25]])
