"""A sample shows what is small too, and is the same every time."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from kbjobs.store.tag_rows import TaggedDocument
from kbjobs.tagging.sampling import MAX_TOPICS, allot, find_topics, folder_of, take_sample


def document(number: int, folder: str = "", words: int = 100) -> TaggedDocument:
    name = hashlib.sha256(str(number).encode()).hexdigest()[:16]
    path = f"root/{folder}/{number}.html" if folder else f"root/{number}.html"
    return TaggedDocument(name, path, "", f"Page {number}", "", words)


@pytest.mark.parametrize(
    ("sizes", "count", "given"),
    [
        ([10_000, 100, 1], 12, [10, 1, 1]),
        ([10_000, 2_500], 12, [8, 4]),
        ([5, 5, 5], 2, [1, 1, 0]),
        ([3, 50], 1, [0, 1]),
        ([2, 2], 10, [2, 2]),
        ([0, 4], 3, [0, 3]),
        ([], 3, []),
    ],
)
def test_each_group_gives_by_the_root_of_its_size(sizes: list[int], count: int, given: list[int]) -> None:
    assert allot(sizes, count) == given


def test_small_folders_topics_and_lengths_are_seen() -> None:
    documents = [document(number, "large") for number in range(900)]
    documents += [document(1_000 + number, "small") for number in range(3)]
    documents += [document(2_000 + number, "large", 100_000) for number in range(3)]
    odd = document(3_000, "large")
    documents.append(odd)
    topics = {one.doc_id: 0 for one in documents} | {odd.doc_id: 1}
    sample = take_sample(documents, 20, topics)
    assert len(sample) == len({one.doc_id for one in sample}) == 20
    assert sum(folder_of(one) == "/small" for one in sample) == 1
    assert odd in sample
    assert any(one.words == 100_000 for one in sample)
    assert sample == take_sample(documents[::-1], 20, topics) == sorted(sample, key=lambda one: one.doc_id)


def test_without_topics_folder_and_length_remain() -> None:
    documents = [document(number, "a" if number % 10 else "b", number) for number in range(300)]
    sample = take_sample(documents, 30, {})
    assert set(Counter(map(folder_of, sample))) == {"/a", "/b"}
    thirds = Counter(one.words // 100 for one in sample)
    assert len(thirds) == 3 and min(thirds.values()) >= 8


def test_few_documents_are_all_taken() -> None:
    documents = [document(number) for number in range(5)]
    assert take_sample(documents, 5, {}) == sorted(documents, key=lambda one: one.doc_id)


def test_topics_are_the_clusters_of_the_vectors() -> None:
    generator = np.random.default_rng(7)
    centers = np.eye(3, 16)
    pairs = []
    for number in range(120):
        vector = centers[number % 3] + generator.normal(0, 0.03, 16)
        pairs.append((str(number), (vector / np.linalg.norm(vector)).astype(np.float32)))
    topics = find_topics(pairs)
    assert topics == find_topics(pairs)
    assert len(topics) == 120 and len(set(topics.values())) <= MAX_TOPICS
    for topic in set(topics.values()):
        assert len({int(number) % 3 for number, one in topics.items() if one == topic}) == 1
    assert find_topics(pairs[:3]) == find_topics([]) == {}


def test_equal_vectors_are_no_trouble() -> None:
    vector = np.full(4, 0.5, dtype=np.float32)
    assert len(find_topics([(str(number), vector) for number in range(50)])) == 50
