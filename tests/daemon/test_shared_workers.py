"""A worker process that runs several jobs, one after the other, each of them on its own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from kbjobs.config.home import Home
from kbjobs.config.run_ids import later_run_id, new_run_id, worker_of
from kbjobs.daemon import next_jobs
from kbjobs.daemon.children import Children
from kbjobs.daemon.launching import ensure_daemon, is_running, stop_daemon
from kbjobs.daemon.next_jobs import NextJobs, WorkerProcess
from kbjobs.daemon.processes import RUN_VARIABLE, processes_of_run
from kbjobs.daemon.programs import InstalledProgram
from kbjobs.errors import ExitCode
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.jobs import Job, Limits, NewJob
from kbjobs.store.locks import try_lock
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event, Status
from kbjobs.system.crashpoints import VARIABLE
from kbjobs.version import VERSION
from tests.conftest import known, phase_state, wait_ended, wait_until, write_pages

pytestmark = pytest.mark.usefixtures("test_types")
SOURCES = ("a", "b", "c", "d")


@pytest.fixture
def manager(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobManager]:
    """One slot, and a queue that is paused until ``begin``: which worker runs which job is then certain."""
    monkeypatch.setenv("KBJOBS_WORKERS", "1")
    for name in SOURCES:
        register(home, name, [write_pages(tmp_path / name, 1)])
    opened = JobManager(home)
    opened.pause()
    yield opened
    opened.close()


def workers_of(home: Home) -> dict[int, set[int]]:
    """The processes that have done steps, by job."""
    import kbjobs_test_types

    found: dict[int, set[int]] = {}
    for source in SOURCES:
        ledger = kbjobs_test_types.open_ledger(home.sources / source)
        for job, pid in ledger.execute("SELECT job, pid FROM steps"):
            found.setdefault(job, set()).add(pid)
        ledger.close()
    return found


def running(manager: JobManager, job_id: int) -> Job:
    """The job, once it has done a step."""
    job: Job = wait_until(
        lambda: (one := manager.get_status(job_id)).pid and one.phase and one.phase.current and one, 30
    )
    return job


def statuses(manager: JobManager, ids: list[int]) -> list[tuple[Status, int]]:
    """How each job ended, and in which attempt."""
    return [(job.status, job.attempt) for job in (wait_ended(manager, job_id, 30) for job_id in ids)]


def test_jobs_of_a_type_share_a_process_and_nothing_else(manager: JobManager) -> None:
    ids = [manager.submit("steps", name, count=1, says=f"this is {name}") for name in SOURCES]
    manager.unpause()
    assert statuses(manager, ids) == [(Status.COMPLETED, 1)] * 4
    assert len(set.union(*workers_of(manager.home).values())) == 1
    for job_id, name in zip(ids, SOURCES, strict=True):
        log = manager.log_file(manager.get_status(job_id)).read_text()
        assert [other for other in SOURCES if f"this is {other}" in log] == [name]
        assert "done: 1 steps" in log
    wait_until(lambda: not list(manager.home.daemon_lock.parent.glob("run-*.lock")))


def test_two_jobs_on_one_source_share_a_process(manager: JobManager) -> None:
    ids = [manager.submit("steps", "a", count=2, number=number) for number in range(3)]
    manager.unpause()
    assert statuses(manager, ids) == [(Status.COMPLETED, 1)] * 3
    assert len(set.union(*workers_of(manager.home).values())) == 1
    import kbjobs_test_types

    ledger = kbjobs_test_types.open_ledger(manager.home.sources / "a")
    assert ledger.execute("SELECT count(*) FROM meetings").fetchone()[0] == 0
    ledger.close()


def test_a_job_of_another_type_is_not_passed_over(manager: JobManager) -> None:
    first, other, last = (
        manager.submit("steps", "a", count=1),
        manager.submit("metadata", "b"),
        manager.submit("steps", "c", count=1),
    )
    manager.unpause()
    assert statuses(manager, [first, other, last]) == [(Status.COMPLETED, 1)] * 3
    done = workers_of(manager.home)
    assert done[first] != done[last]


def test_a_failed_job_ends_its_process(manager: JobManager) -> None:
    ids = [manager.submit("steps", name, count=1, fail=name == "b", says=f"this is {name}") for name in SOURCES]
    manager.unpause()
    failed = (Status.FAILED, 1)
    done = (Status.COMPLETED, 1)
    assert statuses(manager, ids) == [done, failed, done, done]
    pids = [known(workers_of(manager.home)[job_id].pop()) for job_id in ids]
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert "failed" not in manager.log_file(manager.get_status(ids[0])).read_text()
    assert "failed: this is b" in manager.log_file(manager.get_status(ids[1])).read_text()


def test_a_cancel_reaches_the_second_job_alone(manager: JobManager) -> None:
    first = manager.submit("steps", "a", count=1)
    second = manager.submit("steps", "b", count=600, seconds=0.05)
    last = manager.submit("steps", "c", count=1)
    manager.unpause()
    running(manager, second)
    manager.cancel(second)
    done = (Status.COMPLETED, 1)
    assert statuses(manager, [first, second, last]) == [done, (Status.CANCELLED, 1), done]


def test_a_limit_of_time_is_that_of_its_own_job(manager: JobManager) -> None:
    first = manager.submit("steps", "a", count=30, seconds=0.05)
    limit = Limits(timeout=1.2)
    short = manager.submit_job("steps", "b", {"count": 4, "seconds": 0.05}, limits=limit).id
    long = manager.submit_job("steps", "c", {"count": 600, "seconds": 0.05}, limits=limit).id
    manager.unpause()
    assert [wait_ended(manager, job_id, 30).exit_code for job_id in (first, short, long)] == [0, 0, 8]


def test_a_pause_between_two_jobs_holds_the_second(manager: JobManager) -> None:
    first = manager.submit("steps", "a", count=20, seconds=0.05)
    second = manager.submit("steps", "b", count=1)
    manager.unpause()
    running(manager, first)
    manager.pause()
    assert wait_ended(manager, first, 30).status is Status.COMPLETED
    wait_until(lambda: not list(manager.home.daemon_lock.parent.glob("run-*.lock")))  # its worker has ended
    assert manager.get_status(second).status is Status.PENDING
    manager.unpause()
    assert wait_ended(manager, second, 30).attempt == 1


@pytest.mark.parametrize(("point", "attempts"), [("worker.finished", [1, 1, 1]), ("worker.claimed_next", [1, 2, 1])])
def test_a_kill_between_two_jobs(
    manager: JobManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, attempts: list[int]
) -> None:
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    ids = [manager.submit("steps", name, count=3) for name in ("a", "b", "c")]
    manager.unpause()
    assert statuses(manager, ids) == [(Status.COMPLETED, attempt) for attempt in attempts]
    assert marker.exists(), "the point was never reached"
    assert all(len(pids) == 1 for pids in workers_of(manager.home).values())
    if attempts[1] == 2:
        assert manager.get_attempts(ids[1])[0].error == "worker was killed by signal 9"


def test_a_kill_in_the_second_job_requeues_that_one_and_kills_what_it_left(manager: JobManager) -> None:
    first = manager.submit("steps", "a", count=1)
    second = manager.submit("steps", "b", count=100, seconds=0.05, misbehave="spawn")
    manager.unpause()
    job = running(manager, second)
    run_id = known(job.run_id)
    assert run_id == later_run_id(worker_of(run_id), 2)
    assert len(processes_of_run(run_id)) == 4  # itself, a shell's two, and the one that left its group
    os.kill(known(job.pid), signal.SIGKILL)
    wait_until(lambda: manager.get_status(second).attempt == 2, 30)
    assert not processes_of_run(run_id)
    assert manager.get_status(first).attempt == 1
    manager.cancel(second)
    assert wait_ended(manager, second, 30).attempt == 2


def test_the_next_daemon_knows_a_worker_in_its_second_job(manager: JobManager) -> None:
    """It lives, so its job is not given to another; but it takes no third job, which another daemon has to give."""
    first, second, third = (
        manager.submit("steps", "a", count=1),
        manager.submit("steps", "b", count=40, seconds=0.05),
        manager.submit("steps", "c", count=1),
    )
    manager.unpause()
    running(manager, second)
    os.kill(known(manager.get_daemon().pid), signal.SIGKILL)
    wait_until(lambda: not is_running(manager.home))
    ensure_daemon(manager.home)
    assert statuses(manager, [first, second, third]) == [(Status.COMPLETED, 1)] * 3
    done = workers_of(manager.home)
    assert done[first] == done[second] != done[third]


def test_both_killed_in_the_second_job(manager: JobManager) -> None:
    first, second = manager.submit("steps", "a", count=1), manager.submit("steps", "b", count=40, seconds=0.05)
    manager.unpause()
    job = running(manager, second)
    os.kill(known(manager.get_daemon().pid), signal.SIGKILL)
    os.kill(known(job.pid), signal.SIGKILL)
    wait_until(lambda: not is_running(manager.home) and manager.is_worker_dead(manager.get_status(second)))
    ensure_daemon(manager.home)
    assert statuses(manager, [first, second]) == [(Status.COMPLETED, 1), (Status.COMPLETED, 2)]


def test_a_daemon_that_stops_leaves_no_worker_that_takes_another_job(manager: JobManager) -> None:
    ids = [manager.submit("steps", SOURCES[number % 4], count=1, number=number) for number in range(200)]
    manager.unpause()
    wait_ended(manager, ids[4], 30)
    assert stop_daemon(manager.home, now=False, seconds=30)
    jobs = [manager.get_status(job_id) for job_id in ids]
    assert {job.status for job in jobs} == {Status.COMPLETED, Status.PENDING}
    assert not list(manager.home.daemon_lock.parent.glob("run-*.lock"))
    manager.pause()
    for job in jobs[20:]:
        if job.status is Status.PENDING:
            manager.cancel(job.id)
    manager.unpause()
    ensure_daemon(manager.home)
    for job_id in ids[:20]:
        assert wait_ended(manager, job_id, 30).status is Status.COMPLETED


class EndedJob:
    """A job that this process has just ended as a worker, in a home with a daemon, and a job that waits."""

    def __init__(self, home: Home) -> None:
        home.prepare()
        self.home, self.queue = home, Queue(home.state_file)
        self.queue.describe_daemon(os.getpid(), VERSION)
        self.daemon_lock = known(try_lock(home.daemon_lock, 0))
        self.run_id = new_run_id()
        self.worker_lock = known(try_lock(home.worker_lock(self.run_id), 0))
        self.stop = threading.Event()
        self.logs: list[Path] = []
        self.program = Mock(spec=InstalledProgram)
        self.program.is_replaced.return_value = False
        self.slots, self.daemon = 1, os.getpid()
        self.first = self.submit("a")

    def submit(self, source: str, job_type: str = "steps", phases: int = 1) -> int:
        """Queue a job."""
        states = tuple(phase_state(job=job_type) for _ in range(phases))
        return self.queue.submit(NewJob(job_type, source, {}, states, (f"source:{source}",))).id

    def jobs(self) -> NextJobs:
        """What claims the next jobs of this worker."""
        process = WorkerProcess(self.stop, self.slots, lambda pid: pid == self.daemon, self.logs.append)
        return NextJobs(self.home, process, self.program)

    def take(self, jobs: NextJobs | None = None) -> tuple[Job, str] | None:
        """Claim and end the first job, and take the next."""
        job = known(self.queue.claim(self.run_id))
        self.finish(job.id, self.run_id)
        return (jobs or self.jobs()).take(self.queue, job, self.run_id)

    def finish(self, job_id: int, run_id: str) -> None:
        """End a job cleanly."""
        self.queue.finish(job_id, run_id, RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))

    def close(self) -> None:
        """Release everything."""
        self.queue.close()
        self.daemon_lock.release()
        self.worker_lock.release()


@pytest.fixture
def ended(home: Home) -> Iterator[EndedJob]:
    made = EndedJob(home)
    yield made
    made.close()


def test_the_next_job_has_a_run_and_a_log_of_its_own(ended: EndedJob) -> None:
    ended.submit("b")
    job, run_id = known(ended.take())
    assert (job.source, job.status, job.attempt, job.run_id) == ("b", Status.RUNNING, 1, run_id)
    assert run_id == later_run_id(ended.run_id, 2)
    assert ended.logs == [ended.home.log_file(job.id, 1)]
    assert [job.run_id for job in ended.queue.running()] == [run_id]


def must_stop(ended: EndedJob) -> None:
    ended.stop.set()


def has_older_daemon(ended: EndedJob) -> None:
    ended.slots = 0


def has_other_daemon(ended: EndedJob) -> None:
    ended.daemon = 1


def has_no_daemon(ended: EndedJob) -> None:
    ended.daemon_lock.release()


def is_replaced(ended: EndedJob) -> None:
    ended.program.is_replaced.return_value = True


def has_newer_state(ended: EndedJob) -> None:
    ended.queue.connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    "change", [must_stop, has_older_daemon, has_other_daemon, has_no_daemon, is_replaced, has_newer_state]
)
def test_a_worker_takes_no_other_job(ended: EndedJob, change: Callable[[EndedJob], None]) -> None:
    ended.submit("b")
    change(ended)
    assert ended.take() is None
    assert ended.queue.running() == []


def test_a_worker_takes_so_many_jobs(ended: EndedJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_jobs, "MOST_JOBS", 2)
    for source in ("b", "c"):
        ended.submit(source)
    jobs = ended.jobs()
    job, run_id = known(ended.take(jobs))
    ended.finish(job.id, run_id)
    assert jobs.take(ended.queue, job, run_id) is None


def test_a_worker_takes_no_job_after_its_time(ended: EndedJob, monkeypatch: pytest.MonkeyPatch) -> None:
    ended.submit("b")
    monkeypatch.setattr(next_jobs, "MOST_SECONDS", 0.0)
    assert ended.take() is None


def test_a_worker_of_a_type_that_does_not_allow_it_takes_no_job(home: Home) -> None:
    ended = EndedJob(home)
    try:
        ended.queue.connection.execute("DELETE FROM jobs")
        ended.submit("a", "suggest_tags")
        ended.submit("b", "suggest_tags")
        assert ended.take() is None
    finally:
        ended.close()


def test_a_worker_of_a_chain_takes_no_job(ended: EndedJob) -> None:
    ended.queue.connection.execute("DELETE FROM jobs")
    ended.submit("a", phases=2)
    ended.submit("b", phases=2)
    assert ended.take() is None


def test_a_worker_with_a_process_left_over_takes_no_job(ended: EndedJob) -> None:
    ended.submit("b")
    left = subprocess.Popen(["sleep", "600"], env={**os.environ, RUN_VARIABLE: ended.run_id})
    try:
        wait_until(lambda: processes_of_run(ended.run_id) == [left.pid])
        assert ended.take() is None
    finally:
        left.kill()
        left.wait()


def test_a_slot_that_another_job_has_taken_is_not_used_twice(ended: EndedJob) -> None:
    ended.submit("b")
    ended.submit("c")
    ended.finish(known(ended.queue.claim(ended.run_id)).id, ended.run_id)
    assert known(ended.queue.claim(new_run_id(), slots=1)).source == "b"
    assert ended.queue.claim(later_run_id(ended.run_id, 2), slots=1) is None
    assert known(ended.queue.claim(later_run_id(ended.run_id, 2), slots=2)).source == "c"


def test_a_worker_that_takes_jobs_is_not_idle(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon may see it only between its jobs, each time: it must not be taken for one that does not end."""
    home.prepare()
    run_id = new_run_id()
    lock = home.worker_lock(run_id)
    lock.touch()
    now = 100.0
    monkeypatch.setattr("kbjobs.daemon.children.time.monotonic", lambda: now)
    children = Children(home)
    children.add(run_id, Mock())
    [child] = children.idlers([])
    assert child.idle_since == 100
    now = 200.0
    children.idlers([])
    assert child.idle_since == 100  # it has done nothing since
    os.utime(lock, ns=(1, 1))
    children.idlers([])
    assert child.idle_since == 200
    now = 300.0
    assert children.idlers([later_run_id(run_id, 2)]) == []
    children.idlers([])
    assert child.idle_since == 300
