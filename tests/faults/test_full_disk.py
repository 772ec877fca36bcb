"""A full disk under the queue: each write is refused whole, and goes through when there is room again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbjobs.errors import ExitCode, KbjobsError
from kbjobs.store.connection import explain, is_disk_full
from kbjobs.store.jobs import NewJob, Report
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Event, Status
from tests.conftest import fill_disk, phase_state

BIG = "x" * 200_000  # more than the pages that the write-ahead log has to spare


@pytest.fixture
def queue(small_disk: Path) -> Iterator[Queue]:
    opened = Queue(small_disk / "state.db")
    opened.connection.execute("PRAGMA wal_autocheckpoint = 0")
    yield opened
    opened.close()


def submit(queue: Queue) -> int:
    return queue.submit(NewJob("t", "wiki", {}, (phase_state(),), ("source:wiki",))).id


def claim(queue: Queue) -> None:
    # A claim writes little: room for it is taken by a row of the same transaction.
    queue.connection.execute(
        "CREATE TEMP TRIGGER IF NOT EXISTS fat AFTER INSERT ON main.locks BEGIN"
        f" UPDATE jobs SET message = '{BIG}' WHERE id = new.job_id; END"
    )
    assert queue.claim("r2") is not None


def progress(queue: Queue) -> None:
    queue.record_progress(1, "r1", 9, 1.0, Report(50.0, None, (), BIG, None))


def finish(queue: Queue) -> None:
    queue.finish(1, "r1", Event.COMPLETE, ExitCode.DONE, BIG, {"n": 1})


def requeue(queue: Queue) -> None:
    assert queue.record_death(1, "r1", BIG, 3) is not None


OPERATIONS: dict[str, tuple[Callable[[Queue], None], Status]] = {
    "claim": (claim, Status.RUNNING),
    "progress": (progress, Status.RUNNING),
    "finish": (finish, Status.COMPLETED),
    "requeue": (requeue, Status.PENDING),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_is_lost(small_disk: Path, queue: Queue, name: str) -> None:
    operation, after = OPERATIONS[name]
    submit(queue)
    if name != "claim":
        queue.claim("r1")
    before = queue.get(1)
    attempts = queue.connection.execute("SELECT * FROM attempts").fetchall()
    filler = fill_disk(small_disk, 0)
    with pytest.raises(sqlite3.Error) as caught:
        operation(queue)
    assert is_disk_full(caught.value)
    assert "full" in explain(caught.value, queue.path).message
    assert queue.get(1) == before
    assert [tuple(row) for row in queue.connection.execute("SELECT * FROM attempts")] == [
        tuple(row) for row in attempts
    ]
    filler.unlink()
    operation(queue)
    assert queue.get(1).status is after
    assert queue.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_submit_says_that_the_disk_is_full(small_disk: Path, queue: Queue) -> None:
    filler = fill_disk(small_disk, 0)
    with pytest.raises(KbjobsError, match="is full"):
        queue.submit(NewJob("t", "wiki", {"text": BIG}, (), ()))
    filler.unlink()
    assert submit(queue) == 1
