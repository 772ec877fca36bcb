"""Moments, time limits, retries and the clocks behind them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs.errors import ConflictError, ExitCode, UsageError
from kbjobs.store import clocks
from kbjobs.store.history import JobFilter, delete_jobs, list_attempts, list_jobs, old_jobs
from kbjobs.store.jobs import LimitChanges, Limits, NewJob, Report
from kbjobs.store.phase_state import PhaseStatus
from kbjobs.store.queue import DuplicateJobError, Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event, Status
from tests.conftest import phase_state


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    opened = Queue(tmp_path / "state.db")
    yield opened
    opened.close()


def new(source: str = "wiki", limits: Limits | None = None, **params: Any) -> NewJob:
    resources = (f"source:{source}",)
    return NewJob("index_offline", source, params, (phase_state(params=params),), resources, limits=limits or Limits())


class Clocks:
    """Clocks that a test moves: the wall clock may jump, the clock since boot only runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.boottime, self.boot = 1_800_000_000.0, 5_000.0, "boot-1"
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(clocks, "since_boot", lambda: self.boottime)
        monkeypatch.setattr(clocks, "boot_id", lambda: self.boot)

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.boottime += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_not_before_waits_and_blocks_nobody(queue: Queue, clock: Clocks) -> None:
    late = queue.submit(new("a", Limits(not_before=clock.wall + 60)))
    now = queue.submit(new("b"))
    claimed = queue.claim("r1")
    assert claimed is not None
    assert claimed.id == now.id
    assert queue.claim("r2") is None
    assert queue.next_due() == pytest.approx(60)
    clock.pass_time(60)
    claimed = queue.claim("r2")
    assert claimed is not None
    assert claimed.id == late.id
    assert queue.next_due() is None


def test_a_pending_job_past_its_limit_ends_resumable(queue: Queue, clock: Clocks) -> None:
    job = queue.submit(new(limits=Limits(until=clock.wall + 10)))
    assert queue.expire_pending() == []
    assert queue.next_due() == pytest.approx(10)
    clock.pass_time(10)
    assert queue.expire_pending() == [job.id]
    ended = queue.get(job.id)
    assert (ended.status, ended.exit_code, ended.reason) == (Status.INTERRUPTED, ExitCode.TIME_LIMIT, "time_limit")
    assert queue.claim("r") is None
    resumed = queue.resume(job.id)
    assert (resumed.status, resumed.until, resumed.reason) == (Status.PENDING, None, None)
    assert queue.expire_pending() == []


def test_resume_may_give_new_limits_and_a_timeout_begins_anew(queue: Queue, clock: Clocks) -> None:
    job = queue.submit(new(limits=Limits(timeout=100)))
    queue.claim("r")
    queue.record_progress(job.id, "r", 0, 100.0)
    queue.finish(
        job.id, "r", RunOutcome(Event.EXPIRE, ExitCode.TIME_LIMIT, "limit", reason="time_limit"), duration=100.0
    )
    resumed = queue.resume(job.id)
    assert (resumed.timeout, resumed.timeout_from) == (100, 100.0)
    queue.cancel(job.id)
    assert queue.resume(job.id, LimitChanges(until=clock.wall + 5)).until == clock.wall + 5


def test_a_passing_error_is_tried_again_after_its_pause(queue: Queue, clock: Clocks) -> None:
    job = queue.submit(new(limits=Limits(retries=2)))
    queue.claim("r1")
    queue.postpone(job.id, "r1", 30, "the server is busy", 1.5)
    waiting = queue.get(job.id)
    assert (waiting.status, waiting.retried, waiting.duration) == (Status.PENDING, 1, 1.5)
    assert queue.claim("r2") is None
    assert queue.next_due() == pytest.approx(30)
    clock.pass_time(29)
    assert queue.claim("r2") is None
    clock.pass_time(1)
    assert queue.claim("r2") is not None
    attempts = list_attempts(queue, job.id)
    assert (attempts[0].outcome, attempts[0].error) == ("postpone", "the server is busy")


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_jump_of_the_wall_clock_changes_no_pause(queue: Queue, clock: Clocks, jump: float) -> None:
    job = queue.submit(new())
    queue.claim("r1")
    queue.postpone(job.id, "r1", 30, "busy", 0)
    clock.wall += jump
    assert queue.claim("r2") is None
    assert queue.next_due() == pytest.approx(30)
    clock.pass_time(31)
    assert queue.claim("r2") is not None


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_jump_of_the_wall_clock_changes_no_order(queue: Queue, clock: Clocks, jump: float) -> None:
    first = queue.submit(new("a"))
    clock.wall += jump
    second = queue.submit(new("b"))
    claimed = [queue.claim("r1"), queue.claim("r2")]
    assert [job.id for job in claimed if job] == [first.id, second.id]


def test_a_pause_ends_with_the_boot(queue: Queue, clock: Clocks) -> None:
    job = queue.submit(new())
    queue.claim("r1")
    queue.postpone(job.id, "r1", 3000, "busy", 0)
    clock.boot, clock.boottime = "boot-2", 10.0
    assert queue.claim("r2") is not None


def test_a_reboot_is_no_death(queue: Queue, clock: Clocks) -> None:
    job = queue.submit(new())
    for number in range(4):
        queue.claim(f"r{number}")
        clock.boot = f"boot-{number + 2}"
        died = queue.record_death(job.id, f"r{number}", "power", max_deaths=2)
        assert died is not None
        assert died.status is Status.PENDING
    queue.claim("r8")
    queue.record_death(job.id, "r8", "killed", max_deaths=2)
    queue.claim("r9")
    died = queue.record_death(job.id, "r9", "killed", max_deaths=2)
    assert died is not None
    assert died.status is Status.INTERRUPTED


def test_retry_begins_from_the_start_and_resume_does_not(queue: Queue) -> None:
    job = queue.submit(new())
    queue.claim("r1")
    phases = (phase_state(status=PhaseStatus.COMPLETED, result={"n": 1}),)
    queue.record_progress(job.id, "r1", 7, 1.0, Report(40.0, None, phases, "", None))
    queue.finish(job.id, "r1", RunOutcome(Event.FAIL, ExitCode.FAILED, "no"), phases=phases)
    assert queue.resume(job.id).progress == 40.0
    queue.cancel(job.id)
    retried = queue.resume(job.id, from_start=True)
    assert (retried.id, retried.progress) == (job.id, 0.0)
    assert retried.phases == (phase_state(),)


def test_a_completed_job_can_be_retried_but_not_resumed(queue: Queue) -> None:
    job = queue.submit(new())
    queue.claim("r1")
    queue.finish(job.id, "r1", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"), {"n": 1})
    with pytest.raises(ConflictError, match="completed"):
        queue.resume(job.id)
    retried = queue.resume(job.id, from_start=True)
    assert (retried.status, retried.result, retried.finished_at) == (Status.PENDING, None, None)


def test_a_duplicate_names_the_job(queue: Queue) -> None:
    job = queue.submit(new())
    with pytest.raises(DuplicateJobError) as caught:
        queue.submit(new(limits=Limits(timeout=5)))
    assert caught.value.job_id == job.id


def finish_many(queue: Queue, count: int) -> None:
    for number in range(count):
        job = queue.submit(new(f"s{number}"))
        queue.claim(f"r{job.id}")
        counts = {"documents": 12345, "chunks": 678901, "embedded": 678901, "model": "all-mpnet-base-v2"}
        message = "12345 documents (12345 new, 0 changed, 0 deleted), 678901 passages: 678901 embedded"
        queue.finish(job.id, f"r{job.id}", RunOutcome(Event.COMPLETE, ExitCode.DONE, message), counts)


def test_pruning_is_bounded_and_keeps_what_lives_or_is_young(queue: Queue) -> None:
    finish_many(queue, 30)
    for job_id in (1, 30):
        queue.resume(job_id, from_start=True)
        queue.claim("again")
        queue.finish(job_id, "again", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"), {})
    alive = queue.submit(new("alive"))
    queue.connection.execute("UPDATE jobs SET finished_at = '2020-01-01T00:00:00Z' WHERE id <= 20")
    assert len(old_jobs(queue, 30, limit=15)) == 15
    assert delete_jobs(queue, old_jobs(queue, 30, limit=15)) == 15
    assert delete_jobs(queue, old_jobs(queue, 30)) == 5
    assert old_jobs(queue, 30) == []
    left = [job.id for job in list_jobs(queue, JobFilter(100))]
    assert left == [alive.id, *range(30, 20, -1)]
    assert [row[0] for row in queue.connection.execute("SELECT job_id FROM attempts")] == [30]


def test_pruning_never_takes_a_job_that_was_resumed_meanwhile(queue: Queue) -> None:
    job = queue.submit(new())
    queue.cancel(job.id)
    queue.connection.execute("UPDATE jobs SET finished_at = '2020-01-01T00:00:00Z'")
    found = old_jobs(queue, 1)
    queue.resume(job.id)
    assert delete_jobs(queue, found) == 0
    assert queue.get(job.id).status is Status.PENDING


def test_a_finished_job_takes_little_room(queue: Queue) -> None:
    finish_many(queue, 50)
    queue.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = queue.path.stat().st_size
    finish_many(queue, 400)
    queue.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (queue.path.stat().st_size - before) / 400 <= 2500


def test_the_daemon_tells_names_only(queue: Queue) -> None:
    queue.describe_daemon(12, "1.0", ["OPENAI_API_KEY"])
    described = queue.daemon()
    assert described is not None
    assert described.secrets == ("OPENAI_API_KEY",)


def test_the_clocks() -> None:
    first = clocks.since_boot()
    assert 0 < first <= clocks.since_boot() < time.time()
    assert len(clocks.boot_id()) == 36


def test_a_wish_to_cancel_wins_over_a_pause_and_over_a_release(queue: Queue) -> None:
    for number, give_back in enumerate(("postpone", "release")):
        job = queue.submit(new(f"s{number}"))
        queue.claim(f"r{number}")
        queue.cancel(job.id)
        if give_back == "postpone":
            queue.postpone(job.id, f"r{number}", 3600, "busy", 0)
        else:
            queue.release(job.id, f"r{number}")
        ended = queue.get(job.id)
        assert (ended.status, ended.exit_code) == (Status.CANCELLED, ExitCode.CANCELLED)
        assert queue.claim("next") is None


def test_changes_tells_of_own_writes_too(queue: Queue) -> None:
    before = queue.changes()
    assert queue.changes() == before
    queue.submit(new())
    assert queue.changes() != before


def test_a_log_left_by_a_lost_file_is_not_replayed(queue: Queue, tmp_path: Path) -> None:
    """kill -9 leaves the write-ahead log; whoever removes only state.db must not get the old jobs back."""
    import shutil

    queue.submit(new())
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(f"{queue.path}-wal", other / "state.db-wal")
    anew = Queue(other / "state.db")
    assert list_jobs(anew) == []
    anew.close()
    assert list(other.glob("state.db-wal.stale-*"))


def test_a_resumed_job_keeps_the_moment_at_which_it_may_begin(queue: Queue, clock: Clocks) -> None:
    job = queue.submit(new(limits=Limits(not_before=clock.wall + 60, until=clock.wall + 90)))
    queue.cancel(job.id)
    resumed = queue.resume(job.id, LimitChanges(retries=1))
    assert (resumed.not_before, resumed.until) == (clock.wall + 60, clock.wall + 90)
    queue.cancel(job.id)
    clock.pass_time(60)
    resumed = queue.resume(job.id)
    assert (resumed.not_before, resumed.until) == (None, clock.wall + 30)


@pytest.mark.parametrize("changes", [{"not_before": 100.0}, {"until": 50.0}])
def test_a_resume_that_leaves_no_time_is_refused(queue: Queue, clock: Clocks, changes: dict[str, float]) -> None:
    job = queue.submit(new(limits=Limits(not_before=clock.wall + 60, until=clock.wall + 90)))
    queue.cancel(job.id)
    moments: dict[str, Any] = {name: clock.wall + seconds for name, seconds in changes.items()}
    wished = LimitChanges(**moments)
    with pytest.raises(UsageError, match="before it may start"):
        queue.resume(job.id, wished)
    assert queue.get(job.id).status is Status.CANCELLED
