"""Checkpoints: whose they are, what is taken up and what is not."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kbjobs.errors import ExitCode
from kbjobs.store.checkpoints import Checkpoint
from kbjobs.store.history import list_attempts, list_jobs, resumable_jobs
from kbjobs.store.jobs import Job, NewJob, Report
from kbjobs.store.phase_state import PhaseState, PhaseStatus
from kbjobs.store.queue import Queue, StaleWorkerError
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event, Status
from tests.conftest import ROOT, phase_state


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    opened = Queue(tmp_path / "state.db")
    yield opened
    opened.close()


def phases(*numbers: int, **more: Any) -> tuple[PhaseState, ...]:
    return tuple(phase_state(f"p{n}", params={"n": n}, **more) for n in numbers)


def start(queue: Queue, run: str, *numbers: int, source: str | None = "a", **more: Any) -> Job:
    """Submit and claim a chain, with its checkpoint opened."""
    entries = more.pop("entries", None) or phases(*(numbers or (0, 1, 2)))
    queue.submit(NewJob("nightly", source, {}, entries, (f"source:{run}",), **more))
    job = queue.claim(run)
    assert job is not None
    queue.open_checkpoint(job, run)
    return job


def end_phase(queue: Queue, job: Job, run: str, done: int) -> None:
    entries = queue.get(job.id).phases
    ended = [replace(entry, status=PhaseStatus.COMPLETED, result={"ok": True}) for entry in entries[:done]]
    queue.end_phase(job.id, run, (*ended, *entries[done:]), 10.0 * done)


def fail(queue: Queue, job: Job, run: str) -> None:
    queue.finish(job.id, run, RunOutcome(Event.FAIL, ExitCode.FAILED, "it broke", "it broke"))


def load(queue: Queue, source: str | None = "a") -> Checkpoint | None:
    return queue.load_checkpoint(source, "nightly")


def test_a_run_that_was_declared_dead_changes_no_checkpoint(queue: Queue) -> None:
    job = start(queue, "r1")
    queue.record_death(job.id, "r1", "killed", 3)
    before = load(queue)
    for write in (
        lambda: end_phase(queue, job, "r1", 1),
        lambda: queue.save_inner(job.id, "r1", {"page": 1}),
        lambda: queue.open_checkpoint(job, "r1"),
    ):
        with pytest.raises(StaleWorkerError):
            write()
    assert load(queue) == before


def test_success_deletes_it_and_every_other_end_keeps_it(queue: Queue) -> None:
    for number, event in enumerate((Event.FAIL, Event.CANCEL, Event.EXPIRE, Event.COMPLETE)):
        job = start(queue, f"r{number}")
        end_phase(queue, job, f"r{number}", 1)
        queue.finish(job.id, f"r{number}", RunOutcome(event, ExitCode.DONE, ""))
        assert (load(queue) is None) == (event is Event.COMPLETE)


def test_the_inner_one_goes_on_in_the_phase_that_saved_it(queue: Queue) -> None:
    job = start(queue, "r1")
    end_phase(queue, job, "r1", 1)
    queue.save_inner(job.id, "r1", {"page": 41})
    queue.record_death(job.id, "r1", "killed", 3)
    again = queue.claim("r2")
    assert again is not None
    assert queue.open_checkpoint(again, "r2") == {"page": 41}


def test_the_inner_one_is_not_given_to_another_phase(queue: Queue) -> None:
    """A phase that had failed and let the chain go on is open again after resume: it did not save this."""
    job = start(queue, "r1", entries=phases(0, 1, on_error="continue"))
    first, second = queue.get(job.id).phases
    queue.end_phase(job.id, "r1", (replace(first, status=PhaseStatus.FAILED), second), 50.0)
    queue.save_inner(job.id, "r1", {"page": 41})
    fail(queue, job, "r1")
    queue.resume(job.id)
    again = queue.claim("r2")
    assert again is not None
    assert [phase.status for phase in again.phases] == ["pending", "pending"]
    assert queue.open_checkpoint(again, "r2") is None


def test_what_a_later_job_has_completed_is_not_done_again(queue: Queue) -> None:
    first = start(queue, "r1")
    end_phase(queue, first, "r1", 1)
    fail(queue, first, "r1")
    second = start(queue, "r2", entries=queue.get(first.id).phases, resumed=True)
    end_phase(queue, second, "r2", 2)
    queue.save_inner(second.id, "r2", {"page": 7})
    fail(queue, second, "r2")
    resumed = queue.resume(first.id)
    assert [phase.status for phase in resumed.phases] == ["completed", "completed", "pending"]
    again = queue.claim("r3")
    assert again is not None
    assert queue.open_checkpoint(again, "r3") == {"page": 7}


def test_a_job_whose_work_another_has_completed_is_not_resumed_with_all(queue: Queue) -> None:
    first = start(queue, "r1")
    fail(queue, first, "r1")
    assert [job.id for job in resumable_jobs(queue)] == [first.id]
    second = start(queue, "r2", resumed=True)
    queue.finish(second.id, "r2", RunOutcome(Event.COMPLETE, ExitCode.DONE, ""))
    assert resumable_jobs(queue) == []
    third = start(queue, "r3", resumed=True)
    fail(queue, third, "r3")
    assert [job.id for job in resumable_jobs(queue)] == [third.id]


def test_nobody_deletes_the_checkpoint_of_another_job(queue: Queue) -> None:
    old = start(queue, "r1", 7, 8)
    queue.finish(old.id, "r1", RunOutcome(Event.COMPLETE, ExitCode.DONE, ""))
    running = start(queue, "r2")
    end_phase(queue, running, "r2", 1)
    queue.resume(old.id, from_start=True)
    assert load(queue) is not None
    one = start(queue, "r3", 1, 2, source=None)
    other = start(queue, "r4", 3, 4, source=None)
    end_phase(queue, other, "r4", 1)
    queue.finish(one.id, "r3", RunOutcome(Event.COMPLETE, ExitCode.DONE, ""))
    assert load(queue, None) is not None


def test_a_pending_job_owns_the_checkpoint_it_will_go_on_from(queue: Queue) -> None:
    failed = start(queue, "r1")
    queue.save_inner(failed.id, "r1", {"page": 3})
    fail(queue, failed, "r1")
    queue.connection.execute("UPDATE checkpoints SET saved_at = '2020-01-01T00:00:00Z'")
    waiting = queue.submit(NewJob("nightly", "a", {}, phases(0, 1, 2), (), resumed=True))
    assert queue.delete_stale_checkpoints(days=1) == []
    queue.cancel(waiting.id)
    assert len(queue.delete_stale_checkpoints(days=1)) == 1


def test_a_chain_that_is_not_resumable_keeps_its_own_and_offers_it_to_nobody(queue: Queue) -> None:
    job = start(queue, "r1", resumable=False)
    queue.save_inner(job.id, "r1", {"page": 3})
    fail(queue, job, "r1")
    assert queue.load_resumable_checkpoints() == []
    queue.resume(job.id)
    again = queue.claim("r2")
    assert again is not None
    assert queue.open_checkpoint(again, "r2") == {"page": 3}


def test_a_phase_that_ended_or_a_checkpoint_that_was_saved_is_progress(queue: Queue) -> None:
    """Deaths without progress are counted; these are none."""
    job = start(queue, "r0")
    for number in range(1, 5):
        if number % 2:
            end_phase(queue, job, f"r{number - 1}", number // 2 + 1)
        else:
            queue.save_inner(job.id, f"r{number - 1}", {"page": number})
        queue.record_death(job.id, f"r{number - 1}", "killed", max_deaths=1)
        assert queue.claim(f"r{number}") is not None
    ended = queue.record_death(job.id, "r4", "killed", max_deaths=1)
    assert ended is not None
    assert ended.status is Status.INTERRUPTED


def test_texts_that_sqlite_does_not_take(queue: Queue) -> None:
    job = start(queue, "r1")
    queue.record_progress(job.id, "r1", 0, 0.0, Report(0.0, None, phases(0, summary="caf\udce9"), "caf\udce9", None))
    assert queue.get(job.id).message == "caf\\udce9"
    queue.finish(job.id, "r1", RunOutcome(Event.FAIL, ExitCode.FAILED, "x" * 10**6, "caf\udce9 " * 10**5))
    ended = queue.get(job.id)
    assert len(ended.message) == len(ended.error or "") == 4000


def test_a_job_that_an_older_program_claims_after_the_migration_is_recovered(tmp_path: Path) -> None:
    """Its row has no start of the attempt, and the attempt has its own row already."""
    path = tmp_path / "state.db"
    shutil.copy(ROOT / "tests" / "frozen" / "state-1.db", path)
    queue = Queue(path)
    queue.connection.execute("UPDATE jobs SET status = 'pending', not_before = NULL WHERE id = 6")
    job = queue.claim("old")
    assert job is not None
    queue.connection.execute("UPDATE jobs SET attempt_started_at = NULL WHERE id = ?", (job.id,))
    queue.connection.execute(
        "INSERT INTO attempts (job_id, attempt, run_id, started_at) VALUES (?, 1, 'old', '2026-01-01T00:00:00Z')",
        (job.id,),
    )
    recovered = queue.record_death(job.id, "old", "killed", 3)
    assert recovered is not None
    assert recovered.status is Status.PENDING
    assert [one.outcome for one in list_attempts(queue, job.id)] == ["requeue"]
    queue.close()


def test_a_migration_gives_no_number_again(tmp_path: Path) -> None:
    """The older program could forget its newest jobs."""
    path = tmp_path / "state.db"
    shutil.copy(ROOT / "tests" / "frozen" / "state-1.db", path)
    old = sqlite3.connect(path)
    old.execute("DELETE FROM attempts WHERE job_id > 2")
    old.execute("DELETE FROM locks")
    old.execute("DELETE FROM jobs WHERE id > 2")
    old.commit()
    old.close()
    queue = Queue(path)
    assert queue.submit(NewJob("t", "new", {}, phases(0), ())).id == 7
    assert [job.id for job in list_jobs(queue)] == [7, 6, 2, 1]
    queue.close()


def run_to(queue: Queue, event: Event, run: str, job_type: str, params: dict[str, Any], *more: str) -> int:
    """Submit a job of that type, whose phases are of the types ``more`` or of its own, and end it; returns its id."""
    entries = tuple(phase_state(f"p{n}", job, params) for n, job in enumerate(more or (job_type,)))
    job = queue.submit(NewJob(job_type, "a", params, entries, (f"source:{run}",)))
    assert queue.claim(run) is not None
    code = ExitCode.DONE if event is Event.COMPLETE else ExitCode.INTERRUPTED
    queue.finish(job.id, run, RunOutcome(event, code, ""))
    return job.id


def resumable(queue: Queue) -> list[int]:
    return [job.id for job in resumable_jobs(queue)]


def test_a_chain_that_was_changed_has_done_the_work_all_the_same(queue: Queue) -> None:
    old = run_to(queue, Event.INTERRUPT, "r1", "nightly", {}, "metadata", "index_offline")
    assert resumable(queue) == [old]
    run_to(queue, Event.COMPLETE, "r2", "nightly", {"changed": 1}, "metadata", "index_online", "suggest_tags")
    assert resumable(queue) == []


def test_a_job_of_a_lower_id_that_completes_later_has_done_the_work(queue: Queue) -> None:
    first = run_to(queue, Event.INTERRUPT, "r1", "index_offline", {"model": "m"})
    second = run_to(queue, Event.INTERRUPT, "r2", "index_offline", {"model": "m"})
    assert resumable(queue) == [first, second]
    queue.resume(first)
    assert queue.claim("r3") is not None
    queue.finish(first, "r3", RunOutcome(Event.COMPLETE, ExitCode.DONE, ""))
    queue.connection.execute("UPDATE jobs SET finished_at = '2020-01-01T00:00:00Z' WHERE id = ?", (second,))
    assert resumable(queue) == []


def test_other_work_is_not_the_work(queue: Queue) -> None:
    single = run_to(queue, Event.INTERRUPT, "r1", "index_offline", {"model": "m"})
    chain = run_to(queue, Event.INTERRUPT, "r2", "nightly", {}, "metadata", "index_offline")
    run_to(queue, Event.COMPLETE, "r3", "index_offline", {"model": "other"})
    run_to(queue, Event.COMPLETE, "r4", "nightly", {"function": "m:f"}, "python_function")
    assert resumable(queue) == [single, chain]
    function = run_to(queue, Event.INTERRUPT, "r5", "nightly", {"function": "m:g"}, "python_function")
    run_to(queue, Event.COMPLETE, "r6", "nightly", {"function": "m:f"}, "python_function")
    assert resumable(queue) == [single, chain, function]
