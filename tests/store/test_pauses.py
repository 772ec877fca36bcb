"""Pauses in the state: what they hold, what they stop, and what is left when they end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.errors import ExitCode
from kbjobs.store.history import list_attempts
from kbjobs.store.jobs import Job, Limits, NewJob
from kbjobs.store.pauses import end_pause, held_jobs, list_pauses, put_pause
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.source_history import end_source
from kbjobs.store.transitions import Event, Status
from tests.conftest import phase_state


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    opened = Queue(tmp_path / "state.db")
    yield opened
    opened.close()


def submit(queue: Queue, *sources: str, limits: Limits | None = None) -> int:
    resources = tuple(f"source:{name}" for name in sources)
    phases = (phase_state(params={"sources": sources}),)
    return queue.submit(NewJob("t", sources[0], {}, phases, resources, limits=limits or Limits())).id


def claim(queue: Queue, run_id: str) -> Job:
    job = queue.claim(run_id)
    assert job is not None
    return job


def test_a_paused_queue_gives_no_job_away_until_it_goes_on(queue: Queue, tmp_path: Path) -> None:
    first = submit(queue, "a")
    held = put_pause(queue, None, stop_running=False)
    assert (held.is_new, held.pause.source, held.waiting, held.running) == (True, None, (first,), ())
    second = submit(queue, "b")
    assert queue.claim("r") is None
    other = Queue(tmp_path / "state.db")  # as after a restart
    assert other.claim("r") is None
    assert held_jobs(other) == {first: held.pause, second: held.pause}
    assert held_jobs(other, [second]) == {second: held.pause}
    other.close()
    assert end_pause(queue, None) == held.pause
    assert held_jobs(queue) == {}
    assert claim(queue, "r").id == first


def test_a_paused_source_holds_every_job_that_works_on_it(queue: Queue) -> None:
    of_two, of_a, of_b = submit(queue, "b", "a"), submit(queue, "a"), submit(queue, "b")
    held = put_pause(queue, "a", stop_running=False)
    assert held.waiting == (of_two, of_a)
    assert held_jobs(queue).keys() == {of_two, of_a}
    assert claim(queue, "r").id == of_b
    assert queue.claim("s") is None


def test_the_pause_of_the_queue_is_told_before_that_of_a_source(queue: Queue) -> None:
    job = submit(queue, "a")
    for source in ("a", None):
        put_pause(queue, source, stop_running=False)
    assert [pause.source for pause in list_pauses(queue)] == [None, "a"]
    assert held_jobs(queue)[job].remedy == "kbjobs unpause"
    end_pause(queue, None)
    assert held_jobs(queue)[job].remedy == "kbjobs unpause --source a"
    assert queue.claim("r") is None
    end_pause(queue, "a")
    assert claim(queue, "r").id == job


def test_twice_is_once_and_what_is_not_there_does_not_end(queue: Queue) -> None:
    first = put_pause(queue, None, stop_running=False)
    again = put_pause(queue, None, stop_running=True)
    assert (again.is_new, again.pause) == (False, first.pause)
    assert end_pause(queue, "a") is None
    assert end_pause(queue, None) is not None
    assert end_pause(queue, None) is None


def test_a_running_job_is_told_to_stop_and_is_not_counted_as_dead(queue: Queue) -> None:
    job = submit(queue, "a")
    claim(queue, "r1")
    assert queue.record_progress(job, "r1", 5, 1.0) is False
    assert put_pause(queue, None, stop_running=False).stopping == ()
    assert queue.record_progress(job, "r1", 5, 1.0) is False  # it was not asked to stop
    assert put_pause(queue, None, stop_running=True).stopping == (job,)
    assert queue.record_progress(job, "r1", 5, 1.0) is True
    queue.release(job, "r1")
    waits = queue.get(job)
    assert (waits.status, waits.pause_requested, waits.message) == (
        Status.PENDING, False, "paused; what was done is kept"
    )  # fmt: skip
    assert [one.error for one in list_attempts(queue, job)] == ["paused"]
    end_pause(queue, None)
    for number in range(2, 9):  # as often as it likes: killed after the grace
        claim(queue, f"r{number}")
        put_pause(queue, "a", stop_running=True)
        died = queue.record_death(job, f"r{number}", "killed", max_deaths=1)
        assert died is not None
        assert died.status is Status.PENDING
        end_pause(queue, "a")


def test_a_job_that_has_not_stopped_when_its_pause_ends_need_not(queue: Queue) -> None:
    job = submit(queue, "a")
    claim(queue, "r")
    put_pause(queue, "a", stop_running=True)
    put_pause(queue, None, stop_running=False)
    end_pause(queue, "a")
    assert queue.get(job).pause_requested  # the queue is still paused
    end_pause(queue, None)
    assert not queue.get(job).pause_requested
    assert queue.record_progress(job, "r", 0, 1.0) is False


def test_a_cancel_wins_over_a_pause(queue: Queue) -> None:
    job = submit(queue, "a")
    claim(queue, "r")
    put_pause(queue, None, stop_running=True)
    queue.cancel(job)
    queue.release(job, "r")
    assert (queue.get(job).status, queue.get(job).exit_code) == (Status.CANCELLED, ExitCode.CANCELLED)


def test_a_job_that_ends_before_it_stops_has_ended(queue: Queue) -> None:
    job = submit(queue, "a")
    claim(queue, "r")
    put_pause(queue, None, stop_running=True)
    queue.finish(job, "r", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
    assert (queue.get(job).status, queue.get(job).pause_requested) == (Status.COMPLETED, False)


def test_a_time_limit_passes_during_a_pause(queue: Queue) -> None:
    job = submit(queue, "a", limits=Limits(until=1.0))
    put_pause(queue, None, stop_running=False)
    assert queue.expire_pending() == [job]


def test_a_deleted_source_is_paused_no_more(queue: Queue) -> None:
    put_pause(queue, "a", stop_running=False)
    end_source(queue.connection, "a")
    assert list_pauses(queue) == []
