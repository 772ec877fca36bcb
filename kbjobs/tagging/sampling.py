"""Sampling documents so that every folder, topic and length is represented.

A group counts by the square root of its size, so that large groups have more documents in the sample, and small ones
have some. Within a group, documents are chosen by their ids, which are hashes: at random, but always the same.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from kbjobs.store.tag_rows import TaggedDocument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_TOPICS = 12
ROUNDS = 10

Key = Callable[[TaggedDocument], object]


def folder_of(document: TaggedDocument) -> str:
    """The top folder of a document below the source's root, whose name begins the document's path."""
    parts = document.path.split("/")
    return "/" + parts[1] if len(parts) > 2 else "/"


def take_sample(documents: Sequence[TaggedDocument], count: int, topics: dict[str, int]) -> list[TaggedDocument]:
    """Choose a sample of documents, spread over folders, then topics, then lengths.

    Args:
        documents: the documents to choose from.
        count: the largest number of documents.
        topics: the topic of each document by its id, if known.

    Returns:
        The sample, in the order of the ids.
    """
    if len(documents) <= count:
        return sorted(documents, key=lambda document: document.doc_id)
    words = sorted(document.words for document in documents)
    short, long = words[len(words) // 3], words[2 * len(words) // 3]

    def length(document: TaggedDocument) -> object:
        return (document.words > short) + (document.words > long)

    taken = _take(documents, count, (folder_of, lambda document: topics.get(document.doc_id, -1), length))
    return sorted(taken, key=lambda document: document.doc_id)


def _take(documents: Sequence[TaggedDocument], count: int, keys: Sequence[Key]) -> list[TaggedDocument]:
    if not keys or len(documents) <= count:
        return sorted(documents, key=lambda document: document.doc_id)[:count]
    groups: dict[object, list[TaggedDocument]] = {}
    for document in documents:
        groups.setdefault(keys[0](document), []).append(document)
    members = list(groups.values())
    shares = allot([len(group) for group in members], count)
    return [one for group, share in zip(members, shares, strict=True) if share for one in _take(group, share, keys[1:])]


def allot(sizes: Sequence[int], count: int) -> list[int]:
    """Divide ``count`` among groups: first one for each, largest first, then by the square roots of their sizes.

    No group gets more than it has.
    """
    given = [0] * len(sizes)
    queue = [(-math.inf, -size, index) for index, size in enumerate(sizes) if size]
    heapq.heapify(queue)
    for _ in range(min(count, sum(sizes))):
        _, size, index = heapq.heappop(queue)
        given[index] += 1
        if given[index] < sizes[index]:
            heapq.heappush(queue, (-math.sqrt(sizes[index]) / (given[index] + 1), size, index))
    return given


def find_topics(vectors: Iterable[tuple[str, NDArray[np.float32]]]) -> dict[str, int]:
    """Cluster documents into topics by their unit vectors, with deterministic spherical k-means."""
    import numpy as np

    pairs = list(vectors)
    count = min(MAX_TOPICS, math.isqrt(len(pairs) // 2))
    if count < 2:
        return {}
    matrix = np.stack([vector for _, vector in pairs])
    # The first center is the document farthest from the mean, each further one is the farthest from all centers so far.
    centers = matrix[[int((matrix @ matrix.mean(axis=0)).argmin())]]
    while len(centers) < count:
        centers = np.vstack([centers, matrix[int((matrix @ centers.T).max(axis=1).argmin())]])
    nearest = (matrix @ centers.T).argmax(axis=1)
    for _ in range(ROUNDS):
        for index in range(count):
            if (members := matrix[nearest == index]).size:
                mean = members.mean(axis=0)
                centers[index] = mean / max(float(np.linalg.norm(mean)), 1e-9)
        before, nearest = nearest, (matrix @ centers.T).argmax(axis=1)
        if (before == nearest).all():
            break
    return {doc_id: int(index) for (doc_id, _), index in zip(pairs, nearest, strict=True)}
