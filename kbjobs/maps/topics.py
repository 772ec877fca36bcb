"""The topics of a map: its clusters and their parts, each with a name and a place for the name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kbjobs.maps.clustering import Labels, Rows, part_clusters
from kbjobs.maps.labels import TextSample, drop_common_words, label_clusters, label_parts, read_sample
from kbjobs.maps.point_encoding import Points

READ = 2_000  # documents of a cluster whose words are counted
ROUNDS = 3
DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Topic:
    """A name on the map: its cluster's number, how many documents it names, and its place (-1 to 1).

    ``is_part``: it names a part of the cluster; such names appear only from nearer.
    """

    name: str
    cluster: int
    documents: int
    place: tuple[float, float, float]
    is_part: bool


def name_topics(points: Points, rows: Rows) -> tuple[list[str], list[Topic]]:
    """Name the clusters of the points, and the parts of the clusters.

    Args:
        points: the points; every cluster has some.
        rows: the components of each point.

    Returns:
        The labels of the clusters, and the topics: first the clusters, then their parts, the largest part first.
    """
    clusters = points.clusters
    count = int(clusters.max()) + 1
    chosen = _choose_samples(clusters, count)
    samples = _read_samples(points, chosen)
    labels = label_clusters(samples, clusters[chosen].tolist(), count)
    parts, owners = part_clusters(rows, clusters)
    names = label_parts(samples, parts[chosen].tolist(), owners)
    labels = [label or f"cluster {number + 1}" for number, label in enumerate(labels)]
    topics = [_place(points, clusters == number, label, number, False) for number, label in enumerate(labels)]
    of_clusters = [frozenset(label.split(", ")) for label in labels]
    same_name: dict[tuple[int, frozenset[str]], list[int]] = {}
    for number, (name, owner) in enumerate(zip(names, owners, strict=True)):
        words = frozenset(name.split(", "))
        if name and words != of_clusters[owner]:
            same_name.setdefault((owner, words), []).append(number)  # parts with the same name become one
    found = [
        _place(points, np.isin(parts, same), names[same[0]], owner, True) for (owner, _), same in same_name.items()
    ]
    return labels, topics + sorted(found, key=lambda one: (-one.documents, one.name))


def _choose_samples(clusters: Labels, count: int) -> Labels:
    """Choose at most READ documents of each cluster, evenly spaced, so that all of its sources are included."""
    chosen = []
    for number in range(count):
        members = np.flatnonzero(clusters == number)
        chosen.append(members[np.linspace(0, len(members) - 1, min(READ, len(members))).astype(np.int64)])
    return np.concatenate(chosen)


def _read_samples(points: Points, chosen: Labels) -> list[TextSample]:
    samples = [
        read_sample(int(points.sources[row]), f"{points.titles[row]} {points.snippets[row]}") for row in chosen.tolist()
    ]
    return drop_common_words(samples, points.clusters[chosen].tolist())


def _place(points: Points, members: NDArray[np.bool_], name: str, cluster: int, is_part: bool) -> Topic:
    places = points.places[members]
    x, y, z = np.round(_find_middle(places), DECIMALS).tolist()
    return Topic(name, cluster, len(places), (x, y, z), is_part)


def _find_middle(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find where most of the places are: distant ones would pull a plain mean away."""
    middle: NDArray[np.float64] = np.median(places, axis=0)
    for _ in range(ROUNDS):
        squares = ((places - middle) ** 2).sum(axis=1)
        nearest = np.argsort(squares, kind="stable")[: max(1, len(places) // 2)]
        middle = places[nearest].mean(axis=0)
    return middle


def describe_topics(topics: Sequence[Topic]) -> list[dict[str, object]]:
    """Convert the topics to JSON values."""
    return [
        {
            "name": one.name,
            "cluster": one.cluster,
            "documents": one.documents,
            **dict(zip("xyz", one.place, strict=True)),
            "part": one.is_part,
        }
        for one in topics
    ]
