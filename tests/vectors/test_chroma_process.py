"""Chroma in a process of its own: the same collection, and nothing lost where the process or its caller is killed."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from kbjobs.store.ledger_rows import Record
from kbjobs.vectors.chroma_process import ChromaProcess
from kbjobs.vectors.collection import Collection, CollectionError, open_directory
from tests.conftest import wait_until

DIMENSION = 16

pytestmark = pytest.mark.processes


@pytest.fixture
def chroma() -> Iterator[ChromaProcess]:
    process = ChromaProcess()
    yield process
    process.close()


def record(number: int) -> Record:
    vector = np.random.default_rng(number).standard_normal(DIMENSION).astype("<f4")
    vector /= np.linalg.norm(vector)
    return Record(f"r{number}", f"d{number}", f"Title {number}", "", f"text {number} " * 40, vector.tobytes())


def pid_of(chroma: ChromaProcess) -> int:
    assert chroma.pid is not None
    return chroma.pid


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ignored_signals(pid: int) -> int:
    """The mask of signals that a process ignores (proc_pid_status(5))."""
    found = re.search(r"^SigIgn:\s+(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1], 16)


def test_what_it_writes_and_answers_is_what_the_directory_has(chroma: ChromaProcess, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    records = [record(number) for number in range(300)]
    with chroma.open(tmp_path / "c", create=True) as collection:
        collection.upsert(records)
        collection.delete(["r7"])
        assert collection.count() == 299
        assert collection.dimension() == DIMENSION
        assert collection.unreachable(records[10:30]) == []
        apart = answers(collection, records[3])
    with open_directory(tmp_path / "c") as collection:
        assert answers(collection, records[3]) == apart


def answers(collection: Collection, one: Record) -> object:
    hits = collection.query(np.frombuffer(one.vector, "<f4"), 3)
    return (
        sorted(collection.ids()),
        [*collection.read([one.id], has_vectors=True)],
        [(hit.id, hit.text) for hit in hits],
    )


def test_a_damaged_or_absent_directory_is_told_as_ever(chroma: ChromaProcess, tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="there is no vector collection"):
        chroma.open(tmp_path / "nowhere")
    (tmp_path / "c").mkdir()
    with closing(sqlite3.connect(tmp_path / "c" / "chroma.sqlite3")) as database:
        database.execute("CREATE TABLE collections (id TEXT)")
    with pytest.raises(CollectionError, match=r"failed: \w+Error: "):
        chroma.open(tmp_path / "c")
    # The process has survived it.
    (tmp_path / "d").mkdir()
    with chroma.open(tmp_path / "d", create=True) as collection:
        assert collection.count() == 0


def test_a_killed_process_is_named_and_replaced(chroma: ChromaProcess, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    collection = chroma.open(tmp_path / "c", create=True)
    collection.upsert([record(1)])
    os.kill(pid_of(chroma), signal.SIGKILL)
    with pytest.raises(CollectionError, match=r"ended \(.* crashed \(Killed\)\)"):
        collection.upsert([record(2)])
    with pytest.raises(CollectionError, match="has ended"):
        collection.count()
    collection.close()
    with chroma.open(tmp_path / "c") as again:
        assert "r1" in again.ids()


def test_who_comes_after_a_process_waits_until_it_is_gone(chroma: ChromaProcess, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    collection = chroma.open(tmp_path / "c", create=True)
    os.kill(pid_of(chroma), signal.SIGSTOP)  # as if in the middle of a write
    other = ChromaProcess()
    opened: list[Collection] = []
    thread = threading.Thread(target=lambda: opened.append(other.open(tmp_path / "c")))
    thread.start()
    thread.join(1.5)
    assert not opened
    os.kill(pid_of(chroma), signal.SIGCONT)
    collection.close()
    thread.join(20)
    assert opened
    opened[0].close()
    other.close()


CALLER = """
import sys, time
from pathlib import Path
from kbjobs.vectors.chroma_process import ChromaProcess
chroma = ChromaProcess()
collection = chroma.open(Path(sys.argv[1]), create=True)
print(chroma.pid, flush=True)
time.sleep(100)
"""


def test_it_ends_with_its_caller_however_that_ends(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CALLER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        child = int(caller.stdout.readline())
        assert is_alive(child)
        # A group that is asked to end is asked with this: what the process writes it writes to the end.
        assert ignored_signals(child) >> (signal.SIGTERM - 1) & 1
        caller.kill()
    wait_until(lambda: not is_alive(child), seconds=5)


def test_other_threads_go_on_while_it_writes(chroma: ChromaProcess, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    records = [record(number) for number in range(500)]
    with chroma.open(tmp_path / "c", create=True) as collection:
        is_written = threading.Event()
        turns = 0

        def write() -> None:
            collection.upsert(records)
            is_written.set()

        thread = threading.Thread(target=write)
        thread.start()
        while not is_written.wait(0.001):
            turns += 1
        thread.join()
    # In this process the whole upsert takes two or three turns, however long it lasts.
    assert turns > 20
