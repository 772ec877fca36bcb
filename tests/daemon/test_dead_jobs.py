"""Jobs whose daemon and worker were killed, as at a reboot: what is told of them, and how they go on."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.errors import ConflictError
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.jobs import Job, LimitChanges, Limits
from kbjobs.store.transitions import Status
from tests.conftest import Kbjobs, known, read_json, wait_ended, wait_until, write_pages

pytestmark = pytest.mark.usefixtures("test_types")


@pytest.fixture
def manager(home: Home, tmp_path: Path) -> Iterator[JobManager]:
    for source in ("a", "b"):
        register(home, source, [write_pages(tmp_path / source, 1)])
    opened = JobManager(home)
    yield opened
    opened.close()


Kill = Callable[..., Job]


@pytest.fixture
def kill(home: Home, manager: JobManager) -> Kill:
    """Starts a job of steps, and kills daemon and worker in the middle of it."""

    def run(source: str = "a", limits: Limits | None = None, **params: object) -> Job:
        job_id = manager.submit_job("steps", source, {"count": 40, "seconds": 0.05, **params}, limits=limits).id
        job = wait_until(lambda: (one := manager.get_status(job_id)).phase and one.phase.current >= 3 and one)
        daemon = known(manager.get_daemon().pid)
        os.kill(daemon, signal.SIGKILL)
        os.kill(job.pid, signal.SIGKILL)
        wait_until(lambda: not is_running(home) and manager.is_worker_dead(manager.get_status(job_id)))
        return manager.get_status(job_id)

    return run


def test_a_dead_worker_is_told_and_nothing_is_changed(manager: JobManager, kill: Kill, kbjobs: Kbjobs) -> None:
    job = kill()
    before = manager.get_status(job.id)
    assert "running, but its worker is dead" in kbjobs("status", job.id).stdout
    assert "its worker is dead; kbjobs resume 1" in kbjobs("status").stdout
    assert "its worker is dead" in kbjobs("interrupted").stdout
    assert read_json(kbjobs("status", job.id, "--json"))["worker_is_dead"] is True
    assert [one["worker_is_dead"] for one in read_json(kbjobs("interrupted", "--json"))] == [True]
    assert manager.get_status(job.id) == before
    assert not is_running(manager.home)


def test_a_worker_that_lives_is_not_dead(manager: JobManager, kbjobs: Kbjobs) -> None:
    job_id = manager.submit("steps", "a", count=400, seconds=0.05)
    wait_until(lambda: manager.get_status(job_id).pid)
    assert "worker is dead" not in kbjobs("status", job_id).stdout
    assert "Nothing to resume" in kbjobs("interrupted").stderr
    for command in ("resume", "retry"):
        assert f"job {job_id} is running" in kbjobs(command, job_id, check=5).stderr
    manager.cancel(job_id)


def test_resume_goes_on_where_it_was(manager: JobManager, kill: Kill, kbjobs: Kbjobs) -> None:
    job = kill()
    assert "completed" in kbjobs("resume", job.id).stdout
    after = manager.get_status(job.id)
    assert (after.attempt, after.exit_code) == (2, 0)
    assert [attempt.outcome for attempt in manager.get_attempts(job.id)] == ["requeue", "complete"]


@pytest.mark.full
def test_resume_all_takes_the_dead_ones_too(manager: JobManager, kill: Kill, kbjobs: Kbjobs) -> None:
    failed = manager.submit("steps", "b", count=1, fail=True)
    wait_ended(manager, failed)
    job = kill()
    (manager.home.sources / "b" / "mended").touch()
    kbjobs("resume", "--all")
    assert [manager.get_status(one).exit_code for one in (failed, job.id)] == [0, 0]


def test_new_limits_hold_for_a_dead_job(manager: JobManager, kill: Kill) -> None:
    job = kill(limits=Limits(timeout=3600, retries=4))
    resumed = manager.resume(job.id, LimitChanges(timeout=0.3))
    assert (resumed.timeout, resumed.retries) == (0.3, 4)
    assert wait_ended(manager, job.id).exit_code == 8


def test_retry_begins_from_the_start(manager: JobManager, kill: Kill, kbjobs: Kbjobs) -> None:
    job = kill(remember=True)
    assert job.saved >= 3
    kbjobs("retry", job.id)
    after = manager.get_status(job.id)
    assert (after.attempt, after.exit_code) == (2, 0)
    with contextlib.closing(sqlite3.connect(manager.home.sources / "a" / "steps.db")) as steps:
        rows = steps.execute("SELECT count(*) FROM steps").fetchone()[0]
    assert rows >= 40 + job.saved  # the first ones are there twice: it did begin anew


def test_a_dead_job_that_was_cancelled_ends_so(manager: JobManager, kill: Kill) -> None:
    job = kill()
    manager.cancel(job.id)
    resumed = manager.resume(job.id)
    assert resumed.status in (Status.PENDING, Status.RUNNING)
    assert wait_ended(manager, job.id).exit_code == 0


@pytest.mark.full
def test_the_end_of_a_dead_attempt_is_its_last_sign_of_life(manager: JobManager, kill: Kill) -> None:
    job = kill()
    died = time.time()
    time.sleep(2.5)  # the time in which nobody looks is what is tested
    manager.resume(job.id)
    [dead, *_] = manager.get_attempts(job.id)
    assert dead.finished_at is not None
    assert datetime.fromisoformat(dead.finished_at).timestamp() <= died
    assert datetime.fromisoformat(dead.finished_at).timestamp() >= died - 2
    wait_ended(manager, job.id)


def test_the_same_job_again_is_refused_while_a_dead_one_holds_its_place(manager: JobManager, kill: Kill) -> None:
    job = kill()
    with pytest.raises(ConflictError, match=f"job {job.id}"):
        manager.submit("steps", "a", count=40, seconds=0.05)
    assert wait_ended(manager, job.id).exit_code == 0  # the submit has woken a daemon, which goes on with it


@pytest.fixture
def kill_two(home: Home, manager: JobManager) -> Callable[[], list[int]]:
    """Starts two jobs of steps, and kills the daemon and both workers in the middle of them."""

    def run() -> list[int]:
        ids = [manager.submit("steps", source, count=40, seconds=0.05) for source in ("a", "b")]
        wait_until(lambda: all((phase := manager.get_status(one).phase) and phase.current >= 3 for one in ids))
        os.kill(known(manager.get_daemon().pid), signal.SIGKILL)
        for one in ids:
            os.kill(known(manager.get_status(one).pid), signal.SIGKILL)
        wait_until(lambda: not is_running(home) and len(manager.get_resumable_jobs()) == 2)
        return ids

    return run


@pytest.mark.full
def test_resume_all_takes_each_of_several_dead_ones(
    manager: JobManager, kill_two: Callable[[], list[int]], kbjobs: Kbjobs
) -> None:
    ids = kill_two()
    kbjobs("resume", "--all")
    assert [manager.get_status(one).exit_code for one in ids] == [0, 0]


@pytest.mark.full
def test_new_limits_hold_for_each_of_several_dead_ones(
    manager: JobManager, kill_two: Callable[[], list[int]], kbjobs: Kbjobs
) -> None:
    ids = kill_two()
    kbjobs("resume", "--all", "--timeout", "0.3s", check=8)
    assert [manager.get_status(one).exit_code for one in ids] == [8, 8]


@pytest.mark.full
def test_retry_begins_each_of_several_dead_ones_from_the_start(
    manager: JobManager, kill_two: Callable[[], list[int]], kbjobs: Kbjobs
) -> None:
    ids = kill_two()
    kbjobs("retry", *ids)
    assert [manager.get_status(one).exit_code for one in ids] == [0, 0]


def test_a_worker_that_has_ended_since_its_job_was_read_is_not_dead(manager: JobManager) -> None:
    job_id = manager.submit("steps", "a", count=10, seconds=0.05)
    job = wait_until(lambda: (one := manager.get_status(job_id)).pid and one.status is Status.RUNNING and one)
    wait_ended(manager, job_id)
    assert not manager.is_worker_dead(job)


@pytest.mark.full
def test_a_submit_that_is_skipped_has_the_dead_job_go_on(manager: JobManager, kill: Kill, kbjobs: Kbjobs) -> None:
    job = kill()
    again = ("run", "steps", "a", "--count", 40, "--seconds", 0.05, "--if-active", "skip")
    assert f"job {job.id}; nothing was queued" in kbjobs(*again).stderr
    assert wait_ended(manager, job.id).exit_code == 0


def test_what_a_worker_said_last_is_told(
    manager: JobManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kbjobs: Kbjobs
) -> None:
    """A library that ends the process, as one does that finds no memory."""
    says = "    sys.stderr.write('no memory for 3 buffers\\n')\n    sys.stderr.flush()\n    os._exit(1)\n"
    (tmp_path / "ending.py").write_text(f"import os, sys\n\ndef work():\n{says}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1")
    import ending  # type: ignore[import-not-found]

    job_id = manager.submit("ending", "a", ending.work)
    assert wait_ended(manager, job_id).status is Status.INTERRUPTED
    assert "worker ended with status 1: no memory for 3 buffers" in kbjobs("status", job_id).stdout
