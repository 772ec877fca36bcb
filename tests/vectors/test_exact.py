"""The exact index: patched where nobody has written to the published one, written anew otherwise, right either way."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.store import publication
from kbjobs.store.ledger_rows import Record
from kbjobs.store.passages import PassageFile
from kbjobs.vectors import exact, sync
from kbjobs.vectors.collection import Collection, open_directory
from kbjobs.vectors.exact import MATRIX, PASSAGES, keep_rows
from kbjobs.vectors.indexed import Indexed
from kbjobs.vectors.matrix import open_matrix
from kbjobs.vectors.sync import recover_and_publish
from kbjobs.vectors.verified import find_published
from kbjobs.vectors.verifying import verify

from .test_sync import fill, indexed, put, vector

__all__ = ["indexed"]


class Watched:
    """Notes how the matrix is written, and whether Chroma is asked for its ids."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        for module, name in ((exact, "write_matrix"), (exact, "patch_matrix"), (sync, "compare")):
            self._watch(monkeypatch, module, name)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
        real = getattr(module, name)

        def watched(*args: object) -> object:
            self.done.append(name)
            return real(*args)

        monkeypatch.setattr(module, name, watched)


@pytest.fixture
def watched(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> Watched:
    fill(indexed)
    return Watched(monkeypatch)


def assert_exact(indexed: Indexed) -> None:
    """Each passage's row of the matrix is the vector of its text, and there is a row for each text and no other."""
    assert not verify(indexed)
    with PassageFile(indexed.live / PASSAGES) as passages:
        rows = open_matrix(indexed.live / MATRIX, passages.state)
        texts = passages.texts()
    assert set(texts) == {
        text for text, _ in publication.distinct_vectors(indexed.ledger, indexed.model, indexed.profile)
    }
    assert len(rows) == len(texts)
    for row, text_hash in zip(rows, texts, strict=True):
        right = next(publication.vectors_of_texts(indexed.ledger, indexed.model, [text_hash]))
        assert np.array_equal(row, np.frombuffer(right, "<f4")), text_hash


def change(indexed: Indexed) -> None:
    """One document changes, one goes, one comes that has another's text, and one with more passages."""
    put(indexed, "doc1", ["text 1.0", "something new"])
    indexed.ledger.delete_documents(["doc2", "doc39"])
    put(indexed, "twin", ["text 7.1"])
    put(indexed, "more", [f"more {number}" for number in range(9)])


def test_what_has_changed_is_patched(indexed: Indexed, watched: Watched) -> None:
    change(indexed)
    recover_and_publish(indexed, needs_fresh=False)
    assert watched.done == ["patch_matrix"]
    assert_exact(indexed)
    indexed.ledger.delete_documents(["more", "doc5"])  # fewer rows than before
    recover_and_publish(indexed, needs_fresh=False)
    assert "patch_matrix" in watched.done[1:]
    assert_exact(indexed)


def test_an_index_that_somebody_has_written_to_is_compared_and_written_anew(indexed: Indexed, watched: Watched) -> None:
    with open_directory(indexed.live) as collection:
        collection.delete(sorted(collection.ids())[:1])
    assert find_published(indexed) is None
    change(indexed)
    recover_and_publish(indexed, needs_fresh=False)
    assert watched.done == ["compare", "write_matrix"]
    assert_exact(indexed)


@pytest.mark.parametrize("name", [MATRIX, PASSAGES])
def test_a_file_that_was_damaged_is_not_copied(indexed: Indexed, watched: Watched, name: str) -> None:
    """Even if its size and times are as they were, and so nobody seems to have written."""
    path = indexed.live / name
    published = find_published(indexed)
    assert published is not None
    with path.open("r+b") as file:
        file.write(b"damaged!" * 8)
    recorded = indexed.ledger.fact(f"verified {indexed.live.name}")
    assert recorded is not None
    state = recorded.rpartition(" ")[0]
    indexed.ledger.set_fact(f"verified {indexed.live.name}", f"{state} {indexed.copies.describe()}")
    assert find_published(indexed) == published
    change(indexed)
    recover_and_publish(indexed, needs_fresh=False)
    assert "write_matrix" in watched.done and "patch_matrix" not in watched.done
    assert_exact(indexed)


def test_vectors_that_were_embedded_again_are_written(indexed: Indexed, watched: Watched) -> None:
    """``--force`` keeps the texts and replaces the vectors."""
    indexed.ledger.put_vectors(indexed.model, [("hash of text 3.1", vector("another direction"))])
    recover_and_publish(indexed, needs_fresh=False)
    assert watched.done == ["patch_matrix"]
    with PassageFile(indexed.live / PASSAGES) as passages:
        row = passages.texts().index("hash of text 3.1")
        there = open_matrix(indexed.live / MATRIX, passages.state)[row]
    assert there.tobytes() == vector("another direction")


def test_a_copy_begun_by_a_run_that_was_killed_is_compared(indexed: Indexed, watched: Watched) -> None:
    indexed.copies.begin(empty=False)
    with indexed.copies.open_building() as collection:
        collection.delete(sorted(collection.ids())[:20])
    change(indexed)
    recover_and_publish(indexed, needs_fresh=False)
    assert watched.done == ["compare", "patch_matrix"]
    assert_exact(indexed)


def test_a_record_that_chroma_lost_is_noticed(
    indexed: Indexed, watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the copy holds is reckoned, not read; the count at the end is Chroma's own."""
    upsert = Collection.upsert
    lost: list[Record] = []

    def lose(self: Collection, records: list[Record]) -> None:
        upsert(self, records if lost else records[1:])
        lost.append(records[0])

    monkeypatch.setattr(Collection, "upsert", lose)
    change(indexed)
    recover_and_publish(indexed, needs_fresh=False)
    assert "records where the ledger has" in caplog.text and "rebuilding it from the ledger" in caplog.text
    assert_exact(indexed)


def test_many_changes_are_read_in_order(indexed: Indexed, watched: Watched) -> None:
    for number in range(20):
        put(indexed, f"doc{number}", [f"anew {number}.{part}" for part in range(3)])
    recover_and_publish(indexed, needs_fresh=False)
    assert "write_matrix" in watched.done and "patch_matrix" not in watched.done
    assert_exact(indexed)


@given(st.lists(st.integers(0, 30), unique=True), st.lists(st.integers(0, 30), unique=True))
def test_few_rows_move(former: list[int], wanted: list[int]) -> None:
    old, texts = [str(one) for one in former], [str(one) for one in wanted]
    rows, moved = keep_rows(old, texts)
    assert sorted(rows.values()) == list(range(len(texts))) and rows.keys() == set(texts)
    assert {text for text, row in rows.items() if row >= len(old) or old[row] != text} == moved
    kept = sum(1 for text in old[: len(texts)] if text in texts)
    assert len(moved) == len(texts) - kept


def test_random_histories_end_with_the_right_rows(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(4)
    watched = Watched(monkeypatch)
    names = [f"doc{number}" for number in range(40)]
    fill(indexed)
    for number in range(12):
        for name in drawn.sample(names, drawn.randint(0, 3)):
            put(indexed, name, [f"{drawn.choice('abc')} {drawn.randint(0, 60)}" for _ in range(drawn.randint(1, 4))])
        indexed.ledger.delete_documents(drawn.sample(names, drawn.randint(0, 2)))
        put(indexed, f"new{number}", [f"new {number}"])
        recover_and_publish(indexed, needs_fresh=False)
        assert_exact(indexed)
    assert watched.done.count("patch_matrix") >= 5
