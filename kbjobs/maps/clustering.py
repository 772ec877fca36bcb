"""Cluster documents that are about the same: k-means, with the number of clusters that separates best.

The number is judged by the silhouette of a sample (P. J. Rousseeuw, "Silhouettes: a graphical aid to the interpretation
and validation of cluster analysis", 1987); the first centres are drawn as in k-means++ (D. Arthur and S. Vassilvitskii,
2007).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]

MAX_CLUSTERS = 16  # clusters that colours and shapes can still distinguish
FEW = 6  # with MANY documents or more, fewer clusters would say too little
MANY = 500
FEWEST = 8  # documents needed for any clustering
SAMPLE, JUDGED = 8_000, 1_000  # rows to find centres from; rows to judge them by
ROUNDS, TRIES = 30, 2
MAX_PARTS, PART, PART_SAMPLE = 12, 20, 2_000  # parts of a cluster; mean documents per part; rows to find them from
BLOCK = 8_192
SEED = 7


def find_clusters(rows: Rows) -> Labels:
    """Number the cluster of each row, from 0 for the largest; a single cluster if nothing can be separated."""
    count = len(rows)
    if count < FEWEST or not np.any(rows):
        return np.zeros(count, np.int64)
    draw = np.random.default_rng(SEED)
    sample = rows[np.sort(draw.choice(count, min(SAMPLE, count), replace=False))]
    judged = sample[draw.choice(len(sample), min(JUDGED, len(sample)), replace=False)]
    distances = np.sqrt(_squares(judged, judged))
    best, score = np.zeros((1, rows.shape[1]), np.float32), -1.0
    for number in range(2 if count < MANY else FEW, min(MAX_CLUSTERS, count // 3) + 1):
        centres = min((_find_centres(sample, number, draw) for _ in range(TRIES)), key=lambda one: _spread(sample, one))
        found = _silhouette(distances, _nearest(judged, centres))
        if found > score:
            best, score = centres, found
    labels = np.concatenate([_nearest(rows[start : start + BLOCK], best) for start in range(0, count, BLOCK)])
    sizes = np.bincount(labels, minlength=len(best))
    ranks: Labels = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    found_labels: Labels = ranks[labels]
    return found_labels


def part_clusters(rows: Rows, labels: Labels) -> tuple[Labels, list[int]]:
    """Split each cluster by k-means, if it has enough documents.

    Args:
        rows: a row for each document.
        labels: the cluster number of each.

    Returns:
        The part number of each row, and the cluster number of each part. A cluster of few documents is one part.
    """
    draw = np.random.default_rng(SEED)
    parts = np.zeros(len(rows), np.int64)
    owners: list[int] = []
    for cluster in range(int(labels.max(initial=-1)) + 1):
        members = np.flatnonzero(labels == cluster)
        number = min(MAX_PARTS, len(members) // PART)
        if number > 1:
            sample = rows[np.sort(draw.choice(members, min(PART_SAMPLE, len(members)), replace=False))]
            centres = _find_centres(sample, number, draw)
            nearest = [_nearest(rows[members[at : at + BLOCK]], centres) for at in range(0, len(members), BLOCK)]
            _, found = np.unique(np.concatenate(nearest), return_inverse=True)  # parts without rows are dropped
        else:
            found = np.zeros(len(members), np.int64)
        parts[members] = found + len(owners)
        owners += [cluster] * (int(found.max(initial=-1)) + 1)
    return parts, owners


def _squares(rows: Rows, centres: Rows) -> NDArray[np.float64]:
    """Compute the squared distance of each row to each centre."""
    a, b = rows.astype(np.float64), centres.astype(np.float64)
    found = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    squares: NDArray[np.float64] = np.maximum(found, 0.0)
    return squares


def _nearest(rows: Rows, centres: Rows) -> Labels:
    nearest: Labels = _squares(rows, centres).argmin(axis=1)
    return nearest


def _spread(rows: Rows, centres: Rows) -> float:
    return float(_squares(rows, centres).min(axis=1).sum())


def _find_centres(rows: Rows, number: int, draw: np.random.Generator) -> Rows:
    """Find at most ``number`` centres; fewer if fewer rows differ."""
    chosen = [rows[draw.integers(len(rows))]]
    left = _squares(rows, np.stack(chosen)).min(axis=1)
    while len(chosen) < number and left.sum() > 0:
        chosen.append(rows[draw.choice(len(rows), p=left / left.sum())])
        left = np.minimum(left, _squares(rows, chosen[-1][None]).min(axis=1))
    centres = np.stack(chosen)
    labels = _nearest(rows, centres)
    for _ in range(ROUNDS):
        for cluster in range(len(centres)):
            members = rows[labels == cluster]
            if len(members):
                centres[cluster] = members.mean(axis=0, dtype=np.float64)
        now = _nearest(rows, centres)
        if np.array_equal(now, labels):
            break
        labels = now
    return centres


def _silhouette(distances: NDArray[np.float64], labels: Labels) -> float:
    """Compute the mean silhouette, from -1 to 1; -1 for a single cluster."""
    present, labels = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return -1.0
    members = np.eye(len(present))[labels]
    sizes = members.sum(axis=0)
    sums = distances @ members
    own = np.arange(len(labels)), labels
    within = sums[own] / np.maximum(sizes[labels] - 1, 1)
    means = sums / sizes
    means[own] = np.inf
    nearest = means.min(axis=1)
    widest = np.maximum(np.maximum(within, nearest), np.finfo(np.float64).tiny)
    values = np.where(sizes[labels] > 1, (nearest - within) / widest, 0.0)
    return float(values.mean())
