"""Keeping a real ChromaDB collection equal to its ledger, whatever happened to it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from kbjobs.store.ledger import Ledger
from kbjobs.vectors.collection import open_directory
from kbjobs.vectors.collection_swap import WorkingCopy
from kbjobs.vectors.indexed import Indexed
from kbjobs.vectors.sync import recover_and_publish
from kbjobs.vectors.verifying import CollectionProblem, verify

DIMENSION = 16


@dataclass
class Document:
    doc_id: str
    path: str
    url: str
    title: str
    language: str | None
    content_hash: str
    word_count: int
    links: tuple[str, ...]


@dataclass
class Chunk:
    ordinal: int
    text: str
    text_hash: str
    tokens: int
    page: int = 0


def vector(text: str) -> bytes:
    """A direction of the text's own, the same in every process (hash() of a text is not)."""
    drawn = np.random.default_rng(zlib.crc32(text.encode())).normal(size=DIMENSION).astype("<f4")
    return (drawn / np.linalg.norm(drawn)).tobytes()


@pytest.fixture
def indexed(tmp_path: Path) -> Iterator[Indexed]:
    ledger = Ledger(tmp_path / "source.db")
    profile = ledger.profile("tokens 16 1")
    model = ledger.model("tiny-abc", "tiny", DIMENSION, profile)
    yield Indexed(ledger, model, profile, tmp_path / "vectors" / "tiny-abc")
    ledger.close()


def put(indexed: Indexed, name: str, texts: list[str]) -> None:
    document = Document(name, name, f"https://e.org/{name}", name, "en", "|".join(texts), 3, ())
    chunks = [Chunk(n, text, f"hash of {text}", 3) for n, text in enumerate(texts)]
    indexed.ledger.put_documents(indexed.profile, "1", [(document, "signature", chunks)])
    indexed.ledger.put_vectors(indexed.model, [(chunk.text_hash, vector(chunk.text)) for chunk in chunks])


def fill(indexed: Indexed, documents: int = 40) -> None:
    for number in range(documents):
        put(indexed, f"doc{number}", [f"text {number}.{part}" for part in range(3)])
    recover_and_publish(indexed, needs_fresh=False)


def found_texts(indexed: Indexed, text: str, count: int = 1) -> list[str]:
    with open_directory(indexed.live) as collection:
        return [hit.text for hit in collection.query(np.frombuffer(vector(text), "<f4"), count)]


def test_what_is_in_the_ledger_is_found(indexed: Indexed) -> None:
    fill(indexed)
    assert not verify(indexed)
    with open_directory(indexed.live) as collection:
        assert collection.count() == 120
        hit = collection.query(np.frombuffer(vector("text 7.2"), "<f4"), 1)[0]
    assert (hit.doc_id, hit.title, hit.url, hit.text) == ("doc7", "doc7", "https://e.org/doc7", "text 7.2")
    assert hit.score == pytest.approx(1.0, abs=1e-5)


def test_a_changed_document_loses_its_old_passages_and_a_removed_one_all(indexed: Indexed) -> None:
    fill(indexed)
    put(indexed, "doc1", ["text 1.0", "something new"])
    indexed.ledger.delete_documents(["doc2"])
    recover_and_publish(indexed, needs_fresh=False)
    assert not verify(indexed)
    assert found_texts(indexed, "something new") == ["something new"]
    assert found_texts(indexed, "text 1.0") == ["text 1.0"]
    assert "text 1.1" not in found_texts(indexed, "text 1.1", 120)
    assert "text 2.0" not in found_texts(indexed, "text 2.0", 120)


def test_two_documents_with_the_same_text_are_two_records(indexed: Indexed) -> None:
    put(indexed, "a", ["the same", "the same", "other"])
    put(indexed, "b", ["the same"])
    recover_and_publish(indexed, needs_fresh=False)
    assert not verify(indexed)
    with open_directory(indexed.live) as collection:
        assert collection.count() == 4
    assert indexed.ledger.count_vectors(indexed.model) == 2


def test_an_edit_above_leaves_the_ids_below_alone(indexed: Indexed) -> None:
    put(indexed, "a", ["one", "two", "two", "three"])
    before = indexed.ledger.record_ids(indexed.model, indexed.profile)
    put(indexed, "a", ["zero", "one", "two", "two", "three"])
    assert before < indexed.ledger.record_ids(indexed.model, indexed.profile)


def test_drift_is_seen_both_ways(indexed: Indexed) -> None:
    fill(indexed)
    with open_directory(indexed.live, create=True) as collection:
        lost = sorted(collection.ids())[0]
        collection.delete([lost])
        record = next(indexed.ledger.records(indexed.model, indexed.profile, [lost]))[0]
        collection.upsert([type(record)("stranger", "x", "x", "x", "x", vector("x"))])
    assert verify(indexed) == [CollectionProblem("missing", lost), CollectionProblem("extra", "stranger")]
    recover_and_publish(indexed, needs_fresh=False)
    assert not verify(indexed)


def test_a_rebuild_equals_the_ledger(indexed: Indexed) -> None:
    fill(indexed)
    shutil.rmtree(indexed.live)
    assert [one.problem for one in verify(indexed)] == ["absent"]
    recover_and_publish(indexed, needs_fresh=True)
    assert not verify(indexed)


def test_a_torn_working_copy_is_built_anew(indexed: Indexed) -> None:
    fill(indexed)
    put(indexed, "late", ["late text"])
    indexed.copies.begin(empty=False)
    building = indexed.copies.building
    (building / "chroma.sqlite3").write_bytes(b"torn" * 1000)
    recover_and_publish(indexed, needs_fresh=False)
    assert not verify(indexed)
    assert found_texts(indexed, "late text") == ["late text"]


def test_an_index_that_lost_vectors_is_noticed(indexed: Indexed) -> None:
    """The silent fault of two writers: the count is right, the vectors can never be found again."""
    fill(indexed)
    with open_directory(indexed.live, create=True) as collection:
        ids = sorted(collection.ids())[:60]
        records = [record for page in indexed.ledger.records(indexed.model, indexed.profile, ids) for record in page]
        collection.upsert([type(r)(r.id, r.doc_id, r.title, r.url, r.text, vector("wrong")) for r in records])
        assert collection.count() == 120
    assert {"changed", "unreachable"} == {one.problem for one in verify(indexed, compared=30)}  # half of the 120
    WorkingCopy(indexed.live).begin(empty=False)
    recover_and_publish(indexed, needs_fresh=False)
    assert not verify(indexed)


def count_records_ever(indexed: Indexed) -> int:
    """The greatest row of the published collection: one that was built anew has no more than there are records."""
    with contextlib.closing(sqlite3.connect(indexed.live / "chroma.sqlite3")) as connection:
        return int(connection.execute("SELECT max(id) FROM embeddings").fetchone()[0])


def test_from_a_quarter_of_churn_on_the_index_is_built_anew(indexed: Indexed) -> None:
    """Deleted records as a share of those that are left: 23 of 97 are less than a quarter, 24 of 96 are one."""
    fill(indexed)
    for number in range(7):
        indexed.ledger.delete_documents([f"doc{number}"])
        recover_and_publish(indexed, needs_fresh=False)
    put(indexed, "doc7", ["text 7.0"])
    recover_and_publish(indexed, needs_fresh=False)
    assert indexed.ledger.churn(indexed.model) == 23
    assert count_records_ever(indexed) == 120
    indexed.ledger.delete_documents(["doc7"])
    recover_and_publish(indexed, needs_fresh=False)
    assert indexed.ledger.churn(indexed.model) == 0
    assert count_records_ever(indexed) == 96
    assert not verify(indexed)


def test_an_emptied_source_has_an_empty_collection(indexed: Indexed) -> None:
    fill(indexed, 3)
    indexed.ledger.delete_documents(["doc0", "doc1", "doc2"])
    recover_and_publish(indexed, needs_fresh=False)
    assert not verify(indexed)
    assert found_texts(indexed, "text 1.1") == []


class TestSwap:
    """A kill at any point of a copy or a swap leaves a collection that can be searched."""

    @pytest.fixture
    def copies(self, tmp_path: Path) -> WorkingCopy:
        copies = WorkingCopy(tmp_path / "v" / "m")
        copies.live.mkdir(parents=True)
        (copies.live / "state").write_text("old")
        return copies

    def test_a_copy_that_was_not_whole_is_thrown_away(self, copies: WorkingCopy) -> None:
        copying = copies.live.with_name("m.copying")
        copying.mkdir()
        copies.begin(empty=False)
        assert (copies.building / "state").read_text() == "old"
        assert not copying.exists()

    def test_killed_before_the_first_rename(self, copies: WorkingCopy) -> None:
        copies.begin(empty=False)
        assert (copies.readable() / "state").read_text() == "old"

    def test_killed_between_the_renames(self, copies: WorkingCopy) -> None:
        copies.begin(empty=False)
        (copies.building / "state").write_text("new")
        copies.live.rename(copies.live.with_name("m.old"))
        assert (copies.readable() / "state").read_text() == "old"
        copies.recover()
        assert (copies.readable() / "state").read_text() == "new"
        assert [entry.name for entry in copies.live.parent.iterdir()] == ["m"]

    def test_killed_before_the_old_one_is_removed(self, copies: WorkingCopy) -> None:
        old = copies.live.with_name("m.old")
        old.mkdir()
        copies.recover()
        assert (copies.readable() / "state").read_text() == "old"
        assert not old.exists()

    def test_only_the_old_one_is_left(self, copies: WorkingCopy) -> None:
        copies.live.rename(copies.live.with_name("m.old"))
        copies.recover()
        assert (copies.readable() / "state").read_text() == "old"


def test_a_search_beside_the_writer_hurts_neither(indexed: Indexed) -> None:
    """A, then a reader, then A again: the order in which an index in place would lose vectors for ever."""
    fill(indexed)
    for number in range(5):
        put(indexed, f"more{number}", [f"more {number}"])
        indexed.copies.begin(empty=False)
        building = indexed.copies.building
        with open_directory(building, create=True):
            assert found_texts(indexed, "text 3.1") == ["text 3.1"]
        recover_and_publish(indexed, needs_fresh=False)
        assert found_texts(indexed, f"more {number}") == [f"more {number}"]
    assert not verify(indexed)


def test_a_damaged_live_collection_is_named(indexed: Indexed) -> None:
    fill(indexed, 2)
    (indexed.live / "chroma.sqlite3").write_bytes(b"x" * 8192)
    [found] = verify(indexed)
    assert (found.problem, found.record) == ("damaged", None)
    assert "chroma.sqlite3 is no SQLite file" in found.detail
