"""The clusters of a map and their parts have names of their own, which stand where most of their points lie."""

from __future__ import annotations

import numpy as np

from kbjobs.maps.point_encoding import Points
from kbjobs.maps.topics import describe_topics, name_topics

SUBJECTS = ("water kettle", "water filter", "radio antenna", "radio battery")


def draw_points(count: int) -> tuple[Points, np.ndarray]:
    """Points of two clusters with two parts each, and the row of each."""
    subjects = np.arange(count) % 4
    rows = np.zeros((count, 32), np.float32)
    rows[np.arange(count), subjects // 2] = 5
    rows[np.arange(count), 4 + subjects] = 1
    rows += 0.01 * np.random.default_rng(3).standard_normal(rows.shape).astype(np.float32)
    places = 0.1 * rows[:, 4:7].astype(np.float64) + np.where(subjects[:, None] < 2, -0.5, 0.5)
    places[0] = [1, 1, 1]  # lies far off the others of its cluster
    titles = [f"{SUBJECTS[subject]} handbook" for subject in subjects]
    zeros = np.zeros(count, np.int64)
    return Points(places, subjects // 2, zeros, zeros, titles, titles, [""] * count, [""] * count), rows


def test_parts_are_named_by_what_tells_them_apart_within_their_cluster() -> None:
    points, rows = draw_points(160)
    labels, topics = name_topics(points, rows)
    assert [label.split(", ")[0] for label in labels] == ["water", "radio"]
    clusters, parts = [one for one in topics if not one.is_part], [one for one in topics if one.is_part]
    assert [one.name for one in clusters] == labels and [one.documents for one in clusters] == [80, 80]
    for part in parts:
        assert part.name in ("kettle", "filter", "antenna", "battery")
    assert len(parts) == 4 and [one.documents for one in parts] == [40] * 4
    assert np.allclose(clusters[0].place, -0.45, atol=0.1) and np.allclose(clusters[1].place, 0.55, atol=0.1)
    assert describe_topics(topics)[0] == {
        "name": labels[0], "cluster": 0, "documents": 80, "part": False,
        **dict(zip("xyz", clusters[0].place, strict=True)),
    }  # fmt: skip


def test_a_cluster_that_is_not_parted_has_no_parts() -> None:
    points, rows = draw_points(24)
    assert [one.is_part for one in name_topics(points, rows)[1]] == [False, False]


def test_a_cluster_without_words_has_a_number() -> None:
    points, rows = draw_points(24)
    nameless = Points(**{**{name: getattr(points, name) for name in Points.__slots__}, "titles": ["!!!"] * 24})
    assert name_topics(nameless, rows)[0] == ["cluster 1", "cluster 2"]
