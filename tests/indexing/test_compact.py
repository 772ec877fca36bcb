"""``sources compact``: what is not needed goes from the disk, what is needed stays, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import UnavailableError
from kbjobs.services.sources import compact, describe, register, verify
from kbjobs.store import vacuum
from kbjobs.store.frontier import Frontier
from kbjobs.store.ledger import Ledger
from kbjobs.store.locks import lock_source
from kbjobs.store.passages import PassageFile, PassageWriter
from kbjobs.store.publication import passage_languages, passages_of
from kbjobs.store.sources import SourceFolder
from kbjobs.system.crashpoints import VARIABLE
from kbjobs.vectors.collection_swap import WorkingCopy
from kbjobs.vectors.indexed import Indexed
from kbjobs.vectors.sync import recover_and_publish
from tests.conftest import Kbjobs, fill_disk, read_json, write_pages
from tests.vectors.test_sync import DIMENSION, fill, found_texts, put

UNUSED = 200  # vectors of 40,000 bytes that are deleted again
POINTS = (
    "compact.removed", "compact.vacuumed", "compact.rebuilt", "publish.before", "swap.between_renames",
    "swap.renamed", "matrix.sealed",
)  # fmt: skip


@contextlib.contextmanager
def opened(home: Home, source: str = "x") -> Iterator[Indexed]:
    folder = SourceFolder(home.sources, source)
    ledger = Ledger(folder.ledger)
    profile = ledger.profile("tokens 16 1")
    model = ledger.model("tiny-abc", "tiny", DIMENSION, profile)
    yield Indexed(ledger, model, profile, folder.vectors / "tiny-abc")
    ledger.close()


def make_wasteful(home: Home, pages: Path, source: str = "x") -> None:
    """A source with 8 MB that its ledger does not use, a begun rebuild, and deleted records in its collection."""
    register(home, source, [write_pages(pages, 1)])
    with opened(home, source) as indexed:
        fill(indexed)
        indexed.ledger.delete_documents([f"doc{number}" for number in range(4)])
        recover_and_publish(indexed, needs_fresh=False)
        assert indexed.ledger.churn(indexed.model) == 12
        unused = [(f"unused {number}", b"\0" * 40_000) for number in range(UNUSED)]
        indexed.ledger.put_vectors(indexed.model, unused)
        with indexed.ledger.connection as connection:
            connection.execute("DELETE FROM vectors WHERE text_hash LIKE 'unused%'")
        WorkingCopy(indexed.live).begin(empty=False)
        (indexed.live / "mending-x").mkdir()
        (indexed.live / "mending-x" / "matrix.f32").write_bytes(b"x" * 10_000)


def taken(home: Home, source: str = "x") -> int:
    folder = SourceFolder(home.sources, source)
    return sum(path.stat().st_blocks * 512 for path in folder.path.rglob("*") if path.is_file())


def check_whole(home: Home) -> None:
    assert verify(home, "x").ok
    assert [model.vectors for model in describe(home, "x").models] == [120]
    folder = SourceFolder(home.sources, "x")
    assert [path.name for path in folder.vectors.iterdir()] == ["tiny-abc"]
    with opened(home) as indexed:
        assert found_texts(indexed, "text 9.1") == ["text 9.1"]


def test_what_is_not_needed_is_given_back(home: Home, tmp_path: Path) -> None:
    make_wasteful(home, tmp_path / "pages")
    before = taken(home)
    compacted = compact(home, "x")
    parts = {part.name: part for part in compacted.parts}
    assert compacted.rebuilt == ("tiny",)
    assert parts["ledger"].before_bytes - parts["ledger"].after_bytes > 40_000 * UNUSED * 0.9
    assert parts["vectors"].before_bytes > 1.5 * parts["vectors"].after_bytes
    freed = compacted.before_bytes - compacted.after_bytes
    assert abs(before - taken(home) - freed) < 100_000
    check_whole(home)
    with opened(home) as indexed:
        assert indexed.ledger.churn(indexed.model) == 0
        inode = indexed.live.stat().st_ino
    again = compact(home, "x")
    assert (again.rebuilt, again.after_bytes <= again.before_bytes) == ((), True)
    assert (SourceFolder(home.sources, "x").vectors / "tiny-abc").stat().st_ino == inode


def test_few_deleted_records_are_not_worth_a_new_collection(home: Home, tmp_path: Path) -> None:
    register(home, "x", [write_pages(tmp_path / "pages", 1)])
    with opened(home) as indexed:
        fill(indexed)
        indexed.ledger.delete_documents(["doc0", "doc1", "doc2"])
        recover_and_publish(indexed, needs_fresh=False)
        WorkingCopy(indexed.live).begin(empty=False)
        beside = indexed.live / "mending-x"
        beside.mkdir()
    compacted = compact(home, "x")
    assert compacted.rebuilt == ()
    assert compacted.before_bytes > 1.5 * compacted.after_bytes  # what a rebuild had begun is gone
    assert not beside.exists()
    check_whole(home)


def test_frontier_and_words_are_compacted_beside_their_readers(home: Home, tmp_path: Path) -> None:
    register(home, "x", [write_pages(tmp_path / "pages", 1)])
    folder = SourceFolder(home.sources, "x")
    Frontier(folder.frontier).close()
    with contextlib.closing(sqlite3.connect(folder.frontier)) as connection, connection:
        connection.executemany(
            "INSERT INTO urls (url, depth, state) VALUES (?, 0, 'gone')", [(f"u{n}" * 100,) for n in range(3000)]
        )
        connection.execute("DELETE FROM urls WHERE id > 5")
    with opened(home) as indexed:
        for number in range(400):
            put(indexed, f"doc{number}", [f"words of {number} " * 20])
        wanted = passage_languages(indexed.ledger, indexed.profile)
        for chosen in (wanted, dict(list(wanted.items())[:10])):
            with PassageWriter(folder.words, lambda text, language: text) as writer:
                writer.make_equal(chosen, lambda ids: passages_of(indexed.ledger, indexed.profile, ids), "state")
    with PassageFile(folder.words) as reader:
        compacted = compact(home, "x")
        assert len(reader.read(list(wanted))) == 10
    parts = {part.name: part for part in compacted.parts}
    assert parts["frontier"].after_bytes < parts["frontier"].before_bytes / 2
    assert 0 < parts["words"].after_bytes < parts["words"].before_bytes / 2
    with contextlib.closing(sqlite3.connect(folder.frontier)) as connection:
        assert connection.execute("SELECT count(*) FROM urls").fetchone()[0] == 5
    with PassageFile(folder.words) as words:
        assert len(words.read(list(wanted))) == 10


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_each_point_loses_nothing(
    home: Home, tmp_path: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    make_wasteful(home, tmp_path / "pages")
    monkeypatch.setenv(VARIABLE, f"{point}:{tmp_path / 'killed'}")
    kbjobs("sources", "compact", "x", check=-9)
    with opened(home) as indexed:
        path = WorkingCopy(indexed.live).readable()
        assert (path / "chroma.sqlite3").exists()
    assert verify(home, "x").ok
    compacted = read_json(kbjobs("sources", "compact", "x", "--json"))
    assert compacted["freed_bytes"] == compacted["before_bytes"] - compacted["after_bytes"]
    check_whole(home)
    with opened(home) as indexed:
        assert indexed.ledger.churn(indexed.model) == 0 or point == "compact.rebuilt"
        assert indexed.ledger.path.stat().st_size < 1_000_000


def test_a_full_disk_is_told_and_nothing_is_lost(
    small_disk: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(small_disk / "home")
    monkeypatch.setenv("KBJOBS_HOME", str(home.path))
    home.prepare()
    make_wasteful(home, small_disk / "pages")
    with opened(home) as indexed:
        assert len(indexed.ledger.record_ids(indexed.model, indexed.profile)) == 108
    filler = fill_disk(small_disk, 5_000_000)
    refused = kbjobs("sources", "compact", "x", check=7)
    assert "bytes are free on the disk" in refused.stderr
    assert "Nothing was lost" in refused.stderr
    filler.unlink()
    assert verify(home, "x").ok
    assert read_json(kbjobs("sources", "compact", "x", "--json"))["freed_bytes"] > 8_000_000
    check_whole(home)


def test_a_disk_that_fills_up_meanwhile_leaves_the_file_as_it_was(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room was there when it was looked for."""
    ledger = Ledger(small_disk / "source.db")
    profile = ledger.profile("p")
    model = ledger.model("k", "m", 4, profile)
    for number in range(40):
        ledger.put_vectors(model, [(f"{number}", b"\1" * 500_000)])
    with ledger.connection as connection:
        connection.execute("DELETE FROM vectors WHERE id > 30")
    monkeypatch.setattr(vacuum, "_check_room", lambda path, content: None)
    filler = fill_disk(small_disk, 2_000_000)
    with pytest.raises(UnavailableError, match="is full"):
        vacuum.vacuum(ledger)
    assert vacuum.free_space(ledger) == 0
    assert ledger.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert ledger.count_vectors(model) == 30
    filler.unlink()
    assert vacuum.vacuum(ledger) > 4_000_000
    ledger.close()


def test_the_room_on_both_disks_is_asked_for(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "source.db")
    model = ledger.model("k", "m", 4, ledger.profile("p"))
    for number in range(10):
        ledger.put_vectors(model, [(f"{number}", b"\1" * 100_000)])
    with ledger.connection as connection:
        connection.execute("DELETE FROM vectors WHERE id > 5")
    monkeypatch.setenv("SQLITE_TMPDIR", str(small_disk))
    fill_disk(small_disk, 1_000_000)
    with pytest.raises(UnavailableError, match=f"free on the disk of {small_disk}"):
        vacuum.vacuum(ledger)
    monkeypatch.delenv("SQLITE_TMPDIR")
    assert vacuum.vacuum(ledger) > 400_000
    ledger.close()


def test_the_command_says_before_and_after_and_refuses_a_source_in_use(
    home: Home, tmp_path: Path, kbjobs: Kbjobs
) -> None:
    make_wasteful(home, tmp_path / "pages")
    register(home, "empty", [write_pages(tmp_path / "more", 1)])
    with lock_source(SourceFolder(home.sources, "x").lock, "x", 1):
        assert "in use by another process" in kbjobs("sources", "compact", "x", check=5).stderr
        told = kbjobs("sources", "compact", "--all-sources", check=3)
        assert told.stdout == "empty: 0 bytes before, 0 after: 0 bytes given back\n"
        assert "Left out: source x" in told.stderr
    shutil.rmtree(SourceFolder(home.sources, "empty").path)
    [found] = read_json(kbjobs("sources", "compact", "--all-sources", "--json"))
    assert (found["source"], found["rebuilt"]) == ("x", ["tiny"])
    assert found["freed_bytes"] == found["before_bytes"] - found["after_bytes"] > 8_000_000
    assert {part["name"] for part in found["parts"]} == {"ledger", "frontier", "words", "vectors"}
    assert kbjobs("sources", "compact", "x").stdout.startswith("x: ")
    assert "give the id of a source" in kbjobs("sources", "compact", check=2).stderr
    assert "give the id of a source" in kbjobs("sources", "compact", "x", "--all-sources", check=2).stderr
    assert "there is no source 'y'" in kbjobs("sources", "compact", "y", check=4).stderr
