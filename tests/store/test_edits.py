"""Changing a job that waits; one that runs or has ended is left as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.errors import ConflictError, NotFoundError, UsageError
from kbjobs.store.edits import JobChanges, edit_job
from kbjobs.store.jobs import Limits, NewJob
from kbjobs.store.queue import Queue
from tests.conftest import phase_state

FAR = 4_102_444_800.0  # 2100


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    opened = Queue(tmp_path / "state.db")
    for source in ("a", "b"):
        limits = Limits(not_before=FAR, until=FAR + 9, timeout=5.0, retries=2)
        opened.submit(NewJob("t", source, {}, (phase_state(),), (f"source:{source}",), limits=limits))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "changes",
    [{"priority": 5}, {"not_before": None}, {"until": None}, {"until": FAR + 1}, {"retries": 0}, {"not_before": 1.0},
     {"priority": -1, "not_before": FAR + 1, "until": FAR + 2, "retries": 9}],
)  # fmt: skip
def test_only_what_is_named_changes(queue: Queue, changes: JobChanges) -> None:
    before, other = queue.get(1), queue.get(2)
    after = edit_job(queue, 1, changes)
    for name in ("priority", "not_before", "until", "retries", "timeout", "status", "attempt", "phases"):
        assert getattr(after, name) == changes.get(name, getattr(before, name))
    assert queue.get(2) == other


def test_the_order_of_the_queue_follows(queue: Queue) -> None:
    for number in (1, 2):
        edit_job(queue, number, {"not_before": None, "priority": number})
    claimed = queue.claim("r")
    assert claimed is not None
    assert claimed.id == 2
    with pytest.raises(ConflictError, match="job 2 is running") as caught:
        edit_job(queue, 2, {"priority": 9})
    assert "kbjobs cancel 2" in caught.value.hint
    queue.cancel(1)
    with pytest.raises(ConflictError, match="job 1 is cancelled") as caught:
        edit_job(queue, 1, {"priority": 9})
    assert "kbjobs resume 1" in caught.value.hint
    with pytest.raises(NotFoundError):
        edit_job(queue, 3, {"priority": 9})


def test_an_end_before_the_beginning_changes_nothing(queue: Queue) -> None:
    before = queue.get(1)
    with pytest.raises(UsageError, match="before it may start"):
        edit_job(queue, 1, {"until": FAR - 1, "priority": 7})
    assert queue.get(1) == before
