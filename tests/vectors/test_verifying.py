"""Every difference between a real ChromaDB collection and its ledger is named, and a rebuild heals it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import Record
from kbjobs.store.profiles import adopt
from kbjobs.vectors import verifying
from kbjobs.vectors.collection import Collection, CollectionError, open_directory
from kbjobs.vectors.indexed import Indexed
from kbjobs.vectors.sync import recover_and_publish
from kbjobs.vectors.verifying import CollectionProblem, verify
from tests.conftest import rest_full
from tests.vectors.test_sync import Chunk, Document, fill, indexed, put, vector

__all__ = ["indexed"]
LARGE = 2_500  # records: Chroma writes its index to files at every thousand
DIMENSION = 16

# What a person might do to a collection with Chroma itself, in a process of its own.
STRANGER = """
import sys
import chromadb
client = chromadb.PersistentClient(sys.argv[1])
collection = client.get_collection("passages", embedding_function=None)
names = sorted(collection.get(include=[])["ids"])
vector = [1.0] + [0.0] * 15
collection.add(ids=["stranger"], embeddings=[vector], documents=["x"], metadatas=[{"doc_id": "x"}])
collection.delete(ids=[names[0]])
same = collection.get(ids=[names[1]], include=["embeddings"])["embeddings"]
collection.update(ids=[names[1]], documents=["another text"], embeddings=same)
collection.update(ids=[names[2]], metadatas=[{"title": "another title"}])
collection.update(ids=[names[3]], embeddings=[vector])
print(*names[:4])
client.close()
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published source of some thousand records, to be copied."""
    folder = tmp_path_factory.mktemp("large")
    ledger = Ledger(folder / "source.db")
    profile = ledger.profile("tokens 16 1")
    source = Indexed(ledger, ledger.model("tiny-abc", "tiny", DIMENSION, profile), profile, folder / "vectors" / "tiny")
    texts = [f"text {number}" for number in range(LARGE)]
    chunks = [Chunk(number, text, f"hash of {text}", 3) for number, text in enumerate(texts)]
    document = Document("d", "d", "https://e.org/d", "d", "en", "all", 3, ())
    ledger.put_documents(profile, "1", [(document, "signature", chunks)])
    ledger.put_vectors(source.model, [(chunk.text_hash, vector(chunk.text)) for chunk in chunks])
    recover_and_publish(source, needs_fresh=True)
    assert not verify(source)
    ledger.close()
    return folder


@pytest.fixture
def copied(large: Path, tmp_path: Path) -> Iterator[Indexed]:
    shutil.copytree(large, tmp_path / "copy")
    ledger = Ledger(tmp_path / "copy" / "source.db")
    [model] = ledger.models()
    yield Indexed(ledger, model.id, model.profile, tmp_path / "copy" / "vectors" / "tiny")
    ledger.close()


def kinds(found: list[CollectionProblem]) -> set[str]:
    return {one.problem for one in found}


def query_in_a_process(path: Path) -> int:
    """How a process ends that opens the collection as kbjobs does and searches it."""
    program = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom kbjobs.vectors.collection import open_directory\n"
        "from kbjobs.vectors.collection import CollectionError\ntry:\n"
        " with open_directory(Path(sys.argv[1])) as c: c.query(np.eye(16, dtype='f4')[0], 3)\n"
        "except CollectionError: sys.exit(7)"
    )
    return subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=False).returncode


FILES = (
    "chroma.sqlite3", "*/header.bin", "*/data_level0.bin", "*/length.bin", "*/link_lists.bin",
    "*/index_metadata.pickle", "matrix.f32", "passages.db",
)  # fmt: skip


@pytest.mark.parametrize("name", rest_full(FILES, "passages.db"))
def test_a_file_that_is_cut_at_any_point_is_named_and_rebuilt(copied: Indexed, name: str) -> None:
    [file] = copied.live.glob(name)
    whole = file.read_bytes()
    for size in (0, 1, 25, len(whole) // 4, len(whole) // 2, len(whole) * 9 // 10, len(whole) - 4, len(whole) - 1):
        os.truncate(file, size)
        found = verify(copied)
        if "/" in name or name.startswith("chroma"):
            assert (found[0].problem, file.name in found[0].detail) == ("damaged", True), (size, found)
            # A cut header ended the process by a signal.
            assert size not in (0, 25) or query_in_a_process(copied.live) == 7
        else:
            assert kinds(found) == {"outdated"}, (size, found)
        file.write_bytes(whole)
    file.unlink()
    assert kinds(verify(copied)) <= {"absent", "damaged", "outdated"}
    assert verify(copied)
    recover_and_publish(copied, needs_fresh=True)
    assert not verify(copied)


def test_of_a_small_collection_nothing_is_read_from_the_files_of_the_index(indexed: Indexed) -> None:
    """All of its records are in the log of the database: a cut of the other files is told, or changes no answer."""
    fill(indexed)
    query = np.frombuffer(vector("text 3.1"), "<f4")
    for name in FILES[2:6]:
        for file in indexed.live.glob(name):
            whole = file.read_bytes()
            os.truncate(file, len(whole) // 2)
            if not verify(indexed):
                with open_directory(indexed.live) as collection:
                    assert [hit.text for hit in collection.query(query, 1)] == ["text 3.1"]
            file.write_bytes(whole)


def test_what_another_process_has_written_is_named_one_by_one(copied: Indexed) -> None:
    command = [sys.executable, "-c", STRANGER, str(copied.live)]
    deleted, other_text, other_title, other_vector = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {(one.problem, one.record, one.detail) for one in verify(copied)} == {
        ("missing", deleted, ""),
        ("extra", "stranger", ""),
        ("changed", other_text, "text"),
        ("changed", other_title, "title"),
        ("changed", other_vector, "vector"),
    }
    recover_and_publish(copied, needs_fresh=True)
    assert not verify(copied)


def test_a_few_wrong_vectors_among_thousands_are_named(copied: Indexed) -> None:
    """They are far below what a sample that is searched for may miss."""
    with open_directory(copied.live, create=True) as collection:
        chosen = sorted(collection.ids())[:3]
        pages = copied.ledger.records(copied.model, copied.profile, chosen)
        collection.upsert([replace(record, vector=vector("wrong")) for page in pages for record in page])
    assert {(one.problem, one.record, one.detail) for one in verify(copied)} == {
        ("changed", name, "vector") for name in chosen
    }


def test_vectors_of_a_wrong_dimension_are_named(indexed: Indexed) -> None:
    fill(indexed)
    records = [
        record
        for page in indexed.ledger.records(indexed.model, indexed.profile, sorted(indexed.read_wanted().ids))
        for record in page
    ]
    shutil.rmtree(indexed.live)
    with open_directory(indexed.live, create=True) as collection:
        collection.upsert([replace(record, vector=record.vector[:32]) for record in records])
    assert verify(indexed) == [
        CollectionProblem("dimension", None, "the collection has vectors of 8 dimensions, the ledger of 16")
    ]
    recover_and_publish(indexed, needs_fresh=False)
    assert not verify(indexed)


def test_records_whose_vectors_cannot_be_read_are_named(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a page with one such, Chroma reads none."""
    fill(indexed)
    chosen = sorted(indexed.read_wanted().ids)[5]
    read = Collection.read

    def refuse(self: Collection, ids: list[str], has_vectors: bool) -> Iterator[Record]:
        if has_vectors and chosen in ids:
            raise CollectionError("Error finding id")
        return read(self, ids, has_vectors)

    monkeypatch.setattr(Collection, "read", refuse)
    assert verify(indexed) == [CollectionProblem("unreachable", chosen, "its vector cannot be read")]
    monkeypatch.setattr(verifying, "MAX_UNREADABLE", 0)
    assert not verify(indexed)


def test_a_large_collection_is_compared_by_a_sample(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(indexed)
    asked: list[str] = []
    read = Collection.read

    def count(self: Collection, ids: list[str], has_vectors: bool) -> Iterator[Record]:
        asked.extend(ids)
        return read(self, ids, has_vectors)

    monkeypatch.setattr(Collection, "read", count)
    assert not verify(indexed, compared=50)
    assert len(asked) == len(set(asked)) == 50


def test_an_index_is_not_outdated_while_it_is_cut_anew(indexed: Indexed) -> None:
    """An unfinished job has bought vectors for passages of another profile; the published ones stay as they are."""
    fill(indexed)
    ledger = indexed.ledger
    newer = ledger.profile("tokens 16 2")
    document = Document("doc1", "doc1", "https://e.org/doc1", "doc1", "en", "text 1.0|text 1.1|text 1.2", 3, ())
    ledger.put_documents(newer, "1", [(document, "signature", [Chunk(0, "cut anew", "hash of cut anew", 3)])])
    ledger.put_vectors(indexed.model, [("hash of cut anew", vector("cut anew"))])
    assert not verify(indexed)
    for number in range(40):
        ledger.delete_documents([f"doc{number}"] if number != 1 else [])
    adopt(ledger, indexed.model, newer)
    assert "outdated" in kinds(verify(replace(indexed, profile=newer)))


def test_a_source_that_has_changed_since_is_outdated(indexed: Indexed) -> None:
    fill(indexed)
    put(indexed, "late", ["late"])
    assert kinds(verify(indexed)) == {"missing", "outdated"}
