"""A daemon that is killed alone: a worker starts another, once, and only where nobody wants it stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon, is_running, stop_daemon
from kbjobs.daemon.processes import OWN_VARIABLES, RUN_VARIABLE
from kbjobs.daemon.revival import DaemonGuard
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.jobs import Job, Limits
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Status
from tests.conftest import Kbjobs, is_alive, known, wait_ended, wait_until, write_pages

pytestmark = pytest.mark.usefixtures("test_types")

WITHIN = 10.0


@pytest.fixture
def manager(home: Home, tmp_path: Path) -> JobManager:
    for name in ("a", "b", "c"):
        register(home, name, [write_pages(tmp_path / name, 1)])
    return JobManager(home)


def submit_running(manager: JobManager, source: str, seconds: float = 0.1, count: int = 600) -> Job:
    job_id = manager.submit("steps", source, count=count, seconds=seconds)
    job: Job = wait_until(lambda: (one := manager.get_status(job_id)).pid and one.phase and one)
    return job


def kill_daemon(manager: JobManager) -> int:
    pid = known(manager.get_daemon().pid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(manager.home))
    return pid


def wait_for_another(manager: JobManager, former: int) -> int:
    wait_until(lambda: is_running(manager.home) and manager.get_daemon().pid != former, WITHIN)
    return known(manager.get_daemon().pid)


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def test_workers_start_one_daemon_which_recovers_the_worker_that_dies_later(
    manager: JobManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_TEST_KEPT", "as it was")
    job, other = submit_running(manager, "a"), submit_running(manager, "b")
    waiting = manager.submit("steps", "c", count=1)
    former = kill_daemon(manager)
    before = environment_of(known(job.pid))
    pid = wait_for_another(manager, former)
    environment = environment_of(pid)
    assert environment["KBJOBS_TEST_KEPT"] == "as it was"
    own = set(before[OWN_VARIABLES].split()) | {OWN_VARIABLES}
    assert own == {RUN_VARIABLE, "MALLOC_ARENA_MAX", OWN_VARIABLES}
    assert environment.keys() == before.keys() - own
    assert os.getsid(pid) == pid
    os.kill(known(job.pid), signal.SIGKILL)
    wait_until(lambda: manager.get_status(job.id).attempt == 2)
    for one in (job, other):
        manager.cancel(one.id)
    assert wait_ended(manager, waiting).exit_code == 0
    assert manager.get_daemon().pid == pid  # outlives the worker that has started it
    assert manager.home.daemon_log.read_text().count(" serves ") == 2


def test_the_last_worker_leaves_a_daemon_to_what_waits(manager: JobManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_WORKERS", "1")
    first = submit_running(manager, "a", 0.02, count=20)
    waiting = manager.submit("steps", "b", count=1)
    kill_daemon(manager)
    for job_id in (first.id, waiting):
        assert wait_ended(manager, job_id, 20).attempt == 1


def test_what_was_stopped_stays_stopped(manager: JobManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not hear the stop, and a daemon that is killed while it waits for it."""
    monkeypatch.setenv("KBJOBS_GRACE_SECONDS", "60")
    job_id = manager.submit("steps", "a", misbehave="deaf")
    job = wait_until(lambda: (one := manager.get_status(job_id)).pid and one.phase and one)
    daemon = known(manager.get_daemon().pid)
    stop = subprocess.Popen([sys.executable, "-m", "kbjobs", "daemon", "stop"], stderr=subprocess.DEVNULL)
    wait_until(lambda: not manager.home.guard_mark.exists())
    stop.kill()
    stop.wait()
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: not is_running(manager.home))
    with pytest.raises(AssertionError):  # for longer than a guard waits
        wait_until(lambda: is_running(manager.home), 5)
    assert is_alive(known(job.pid))
    assert ensure_daemon(manager.home)  # whoever asks for a daemon gets one, and it is guarded
    assert manager.home.guard_mark.exists()


def test_a_stop_finds_no_daemon_and_keeps_workers_from_starting_one(manager: JobManager) -> None:
    submit_running(manager, "a")
    kill_daemon(manager)
    assert not stop_daemon(manager.home, now=False, seconds=20)
    assert not manager.home.guard_mark.exists()


@pytest.mark.parametrize("how", ["foreground", "INVOCATION_ID"])
def test_a_service_manager_starts_its_daemon_itself(
    manager: JobManager, home: Home, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "foreground":
        process = subprocess.Popen([sys.executable, "-P", "-m", "kbjobs", "daemon", "run"], stderr=subprocess.DEVNULL)
        wait_until(lambda: is_running(home) and manager.get_daemon().pid == process.pid)
    else:
        monkeypatch.setenv("INVOCATION_ID", "0" * 32)
        ensure_daemon(home)
    job = submit_running(manager, "a")
    assert not home.guard_mark.exists()
    kill_daemon(manager)
    if how == "foreground":
        process.wait()
    monkeypatch.setattr("kbjobs.daemon.revival.ensure_daemon", pytest.fail)
    guard = DaemonGuard(home)
    assert guard._look()
    assert is_alive(known(job.pid))


def test_no_daemon_is_started_under_another_state(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.prepare()
    Queue(home.state_file).close()
    home.guard_mark.touch()
    monkeypatch.setattr("kbjobs.daemon.launching._start", pytest.fail)
    guard = DaemonGuard(home)
    home.state_file.rename(home.path / "aside.db")
    assert guard._look()
    Queue(home.state_file).close()
    assert guard._look()


def test_a_daemon_that_cannot_start_is_told(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.prepare()
    with Queue(home.state_file) as queue:
        queue.connection.execute("PRAGMA user_version = 999")
    home.guard_mark.touch()
    assert not DaemonGuard(home)._look()
    assert "was written by a newer kbjobs" in caplog.text


@pytest.mark.parametrize("command", ["resume", "watch"])
def test_commands_start_a_daemon_for_a_job_that_runs(manager: JobManager, kbjobs: Kbjobs, command: str) -> None:
    job = submit_running(manager, "a", 0.05, count=40)
    kill_daemon(manager)
    manager.home.guard_mark.unlink()  # the workers start none
    kbjobs(command, str(job.id), check=5 if command == "resume" else 0)
    assert is_running(manager.home)
    assert wait_ended(manager, job.id).status is Status.COMPLETED


def test_resume_starts_a_daemon_for_a_job_that_waits(manager: JobManager, kbjobs: Kbjobs) -> None:
    job = manager.submit_job("steps", "a", {}, limits=Limits(not_before=time.time() + 3600))
    stop_daemon(manager.home, now=True, seconds=20)
    assert "pending" in kbjobs("resume", str(job.id), check=5).stderr
    assert is_running(manager.home)
