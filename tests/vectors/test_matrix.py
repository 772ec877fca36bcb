"""The matrix: exact answers, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kbjobs.vectors.matrix import MatrixError, nearest, open_matrix, seal_matrix, write_matrix

DIMENSION = 16


@pytest.fixture
def rows() -> np.ndarray:
    drawn = np.random.default_rng(3).normal(size=(500, DIMENSION)).astype("<f4")
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture
def path(tmp_path: Path, rows: np.ndarray) -> Path:
    file = tmp_path / "matrix.f32"
    assert write_matrix(file, DIMENSION, (row.tobytes() for row in rows))[0] == 500
    seal_matrix(file, DIMENSION, 500, "state")
    return file


def test_what_is_written_is_read(path: Path, rows: np.ndarray) -> None:
    assert np.array_equal(open_matrix(path, "state"), rows)
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_answer_is_exact(path: Path, rows: np.ndarray) -> None:
    matrix = open_matrix(path, "state")
    for query in rows[:20]:
        expected = np.argsort(-(rows @ query), kind="stable")[:10]
        assert [row for row, _ in nearest(matrix, query, 10)] == list(expected)
        some = list(range(0, 500, 7))
        among = [row for row in np.argsort(-(rows @ query), kind="stable") if row in some][:10]
        assert [row for row, _ in nearest(matrix, query, 10, some)] == among
    assert len(nearest(matrix, rows[0], 10_000)) == 500
    assert nearest(matrix, rows[0], 0) == nearest(matrix, rows[0], 5, []) == []


@pytest.mark.parametrize("count", [1, 7, 8, 500])
def test_a_small_product_is_that_of_a_large_one(monkeypatch: pytest.MonkeyPatch, rows: np.ndarray, count: int) -> None:
    small = nearest(rows[:count], rows[3], count)
    monkeypatch.setattr("kbjobs.vectors.matrix._LARGE", 0)
    large = nearest(rows[:count], rows[3], count)
    assert dict(small) == pytest.approx(dict(large), abs=1e-6)


def test_equal_rows_are_ordered_by_their_place() -> None:
    matrix = np.full((50, 4), 0.5, dtype=np.float32)
    assert [row for row, _ in nearest(matrix, matrix[0], 7)] == list(range(7))


def test_one_that_is_not_sealed_is_none(tmp_path: Path, rows: np.ndarray) -> None:
    write_matrix(tmp_path / "m", DIMENSION, (row.tobytes() for row in rows))
    with pytest.raises(MatrixError):
        open_matrix(tmp_path / "m", "state")


def test_what_does_not_belong_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match="does not belong"):
        open_matrix(path, "another state")
    with pytest.raises(MatrixError, match="16 dimensions, not 8"):
        nearest(open_matrix(path, "state"), np.zeros(8, dtype="<f4"), 1)
    with pytest.raises(MatrixError, match="dimensions"):
        write_matrix(tmp_path / "n", DIMENSION, [b"\0" * 8])
    empty = tmp_path / "empty"
    write_matrix(empty, DIMENSION, [])
    seal_matrix(empty, DIMENSION, 0, "s")
    assert nearest(open_matrix(empty, "s"), np.zeros(DIMENSION, dtype="<f4"), 3) == []
