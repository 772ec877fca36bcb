"""Clusters are found where there are some, as many as there are, and the same on every run."""

from __future__ import annotations

import numpy as np
import pytest

from kbjobs.maps.clustering import FEWEST, MAX_CLUSTERS, MAX_PARTS, find_clusters, part_clusters


def blobs(sizes: list[int], spread: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Rows around centres that lie apart, in a mixed order, and the number of the centre of each."""
    draw = np.random.default_rng(5)
    numbers = draw.permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = np.eye(len(sizes), 32)[numbers] + spread * draw.standard_normal((sum(sizes), 32))
    return rows.astype(np.float32), numbers


@pytest.mark.parametrize("sizes", [[30, 20], [200, 150, 100], [900, 800, 700, 600, 500, 400, 300]])
def test_as_many_clusters_as_there_are_the_largest_first(sizes: list[int]) -> None:
    rows, numbers = blobs(sizes)
    labels = find_clusters(rows)
    assert np.array_equal(labels, numbers)
    assert np.array_equal(labels, find_clusters(rows))


def test_never_more_than_can_be_told_apart() -> None:
    rows = np.random.default_rng(1).standard_normal((3000, 32)).astype(np.float32)
    assert 1 < len(np.unique(find_clusters(rows))) <= MAX_CLUSTERS


@pytest.mark.parametrize("count", range(FEWEST))
def test_a_few_documents_are_one_cluster(count: int) -> None:
    assert find_clusters(np.ones((count, 32), np.float32)).tolist() == [0] * count


def test_what_is_all_the_same_is_one_cluster() -> None:
    assert set(find_clusters(np.zeros((50, 32), np.float32)).tolist()) == {0}
    assert set(find_clusters(np.ones((700, 32), np.float32)).tolist()) == {0}


def test_two_heaps_of_equal_rows_are_two_clusters() -> None:
    rows = np.eye(2, 32, dtype=np.float32)[np.arange(600) % 3 // 2]
    assert np.bincount(find_clusters(rows)).tolist() == [400, 200]


def test_large_clusters_are_parted_the_same_on_every_run() -> None:
    rows = np.random.default_rng(1).standard_normal((3000, 32)).astype(np.float32)
    labels = np.repeat([0, 1, 2], [2900, 95, 5])
    parts, owners = part_clusters(rows, labels)
    assert [owners[part] for part in parts] == labels.tolist()
    assert sorted(set(parts.tolist())) == list(range(len(owners)))
    assert [owners.count(cluster) for cluster in range(3)] == [MAX_PARTS, 4, 1]
    again, _ = part_clusters(rows, labels)
    assert np.array_equal(parts, again)


def test_equal_rows_are_one_part() -> None:
    parts, owners = part_clusters(np.ones((100, 32), np.float32), np.zeros(100, np.int64))
    assert set(parts.tolist()) == {0} and owners == [0]
