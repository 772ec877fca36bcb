"""What must not grow with a source: how often its record ids are read, and what an unchanged run writes."""

from __future__ import annotations

import os
import shutil
import threading
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.context import PhaseResult
from kbjobs.indexing import collection_writer
from kbjobs.indexing.cutting import IndexOptions
from kbjobs.indexing.pipeline import run_index
from kbjobs.services.sources import rebuild, register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.vectors.collection import open_directory
from tests.phases.test_index_offline import context

DIMENSION, PAGES, PASSAGES = 8, 150, 20


class Words:
    """Counts the words of a text as its tokens."""

    identity, special, adds_up = "words", 0, True

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        raise AssertionError("no passage is too long")


class DrawingEmbedder:
    """Draws a unit vector for each text."""

    name, model_key, dimension, max_tokens, engine = "drawn", "drawn-0", DIMENSION, 32, "drawn"
    commit_tokens, commit_texts, pads, is_free, tokens_bought, in_flight = 1 << 30, 500, False, True, 0, 1
    tokenizer = Words()

    def embed(self, texts: Sequence[str]) -> Any:
        drawn = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSION, "f4") for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in drawn])

    def leaves_time(self) -> bool:
        return True

    def interrupt(self) -> None:
        raise AssertionError("one call at a time")


def index(home: Home, **options: Any) -> PhaseResult:
    return run_index(context(home, "x"), DrawingEmbedder(), IndexOptions(**options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a source of 3,000 passages, to be copied."""
    home = Home(tmp_path_factory.mktemp("published"))
    home.prepare()
    pages = home.path / "x-pages"
    pages.mkdir()
    for number in range(PAGES):
        paragraphs = [f"page {number} part {part} {'word ' * 22}end." for part in range(PASSAGES)]
        (pages / f"page{number}.txt").write_text("\n\n".join(paragraphs))
    register(home, "x", [pages])
    counts = index(home).counts
    assert counts["embedded"] == counts["chunks"] >= PAGES * PASSAGES
    return home.path


@pytest.fixture
def large(published: Path, home: Home) -> Home:
    shutil.rmtree(home.path)
    shutil.copytree(published, home.path)
    manifest = SourceFolder(home.sources, "x").manifest
    manifest.write_text(manifest.read_text().replace(str(published), str(home.path)))
    index(home)  # the files of a copy are others than those that were verified
    return home


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that read the ids of all records of a ledger."""
    found: list[str] = []
    begin = Ledger.__init__

    def trace(ledger: Ledger, path: Path) -> None:
        begin(ledger, path)
        ledger.connection.set_trace_callback(
            lambda sql: found.append(sql) if "record_id" in sql and " IN ('" not in sql and "SELECT" in sql else None
        )

    monkeypatch.setattr(Ledger, "__init__", trace)
    return found


def state_of_files(home: Home) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of each file of the source."""
    folder = SourceFolder(home.sources, "x").path
    return {
        str(path.relative_to(folder)): (seen.st_ino, seen.st_size, seen.st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir() and path.suffix not in {".lock", ".db-shm"} and (seen := path.stat())
    }


def test_publishing_reads_the_record_ids_once(large: Home, readings: list[str]) -> None:
    (large.path / "x-pages" / "page3.txt").write_text("page 3 is another one now.")
    index(large)
    assert len(readings) == 1, readings
    readings.clear()
    rebuild(large, "x")
    assert len(readings) == 1, readings
    readings.clear()
    assert verify(large, "x").ok
    assert len(readings) == 1, readings


def test_an_unchanged_run_writes_nothing_and_does_not_open_chroma(
    large: Home, readings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError("Chroma is opened")

    before = state_of_files(large)
    monkeypatch.setattr("kbjobs.vectors.chroma_process.ChromaProcess.open", refuse)
    assert index(large).counts["unchanged"] == PAGES
    assert state_of_files(large) == before
    assert len(readings) == 1


@pytest.mark.full
def test_what_anybody_has_written_to_is_verified_by_the_next_run(large: Home) -> None:
    live = SourceFolder(large.sources, "x").vectors / DrawingEmbedder.model_key
    with open_directory(live, create=True) as collection:
        collection.delete(sorted(collection.ids())[:2])
    assert not verify(large, "x").ok
    index(large)
    assert verify(large, "x").ok
    for name in ("passages.db", "matrix.f32", "chroma.sqlite3"):
        os.truncate(live / name, (live / name).stat().st_size // 2)
        assert not verify(large, "x").ok
        index(large)
        assert verify(large, "x").ok


@pytest.mark.full
def test_a_collection_that_was_cleared_and_came_back_is_not_taken_for_verified(large: Home) -> None:
    live = SourceFolder(large.sources, "x").vectors / DrawingEmbedder.model_key
    away = live.with_name("away")
    shutil.copytree(live, away)
    shutil.rmtree(live)
    away.rename(live)
    with open_directory(live, create=True) as collection:
        collection.delete(sorted(collection.ids())[:1])
    index(large)
    assert verify(large, "x").ok


def test_whoever_waits_for_the_writer_is_not_waited_for(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API that throttles leaves the writer time only while requests wait: none does if their thread waits for it."""

    class Throttled(DrawingEmbedder):
        commit_texts = 1

        def leaves_time(self) -> bool:
            return threading.current_thread().name != "collection-writer"

    monkeypatch.setattr(collection_writer, "BATCH", 10)
    pages = tmp_path / "pages"
    pages.mkdir()
    for number in range(60):  # more than the writer takes at once and its queue holds
        (pages / f"page{number}.txt").write_text(f"page {number}")
    register(home, "x", [pages])
    results: list[PhaseResult] = []
    run = partial(run_index, context(home, "x"), Throttled(), IndexOptions())  # type: ignore[arg-type]
    thread = threading.Thread(target=lambda: results.append(run()), daemon=True)
    thread.start()
    thread.join(30)
    assert results and results[0].counts["embedded"] == 60
