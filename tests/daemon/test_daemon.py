"""The daemon as an operator meets it: real processes, real signals, real jobs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon, is_running, stop_daemon
from kbjobs.daemon.processes import RUN_VARIABLE, kill_processes_of_run, processes_of_run
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register, verify
from kbjobs.store.jobs import Job
from kbjobs.store.locks import is_locked
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Status
from tests.conftest import Kbjobs, copy_pages, is_alive, known, wait_ended, wait_until, write_pages
from tests.phases.test_index_offline import vectors_written

pytestmark = pytest.mark.usefixtures("minilm")


def running_job(manager: JobManager, job_id: int) -> Job:
    """The job, once its worker has told its process and committed some passages."""

    def found() -> Job | None:
        job = manager.get_status(job_id)
        assert not job.has_ended, job
        return job if job.pid and job.phase and job.phase.unit == "chunks" and job.phase.current else None

    job: Job = wait_until(found, 60)
    return job


@pytest.fixture
def steps(home: Home, tmp_path: Path, test_types: None) -> Job:
    """A running job that needs no model and takes two seconds."""
    register(home, "a", [write_pages(tmp_path / "a", 1)])
    manager = JobManager(home)
    job_id = manager.submit("steps", "a", count=40, seconds=0.05)
    job: Job = wait_until(lambda: (one := manager.get_status(job_id)).pid and one.phase and one.phase.current and one)
    return job


@pytest.fixture
def docs(home: Home, tmp_path: Path, python_docs: Path) -> str:
    """A source that takes some seconds to index."""
    register(home, "docs", [copy_pages(python_docs, tmp_path / "docs", 14)])
    return "docs"


@pytest.fixture
def small(home: Home, tmp_path: Path) -> str:
    """A source that is indexed at once."""
    register(home, "small", [write_pages(tmp_path / "small", 3)])
    return "small"


def test_a_submit_starts_a_detached_daemon(home: Home, small: str, kbjobs: Kbjobs) -> None:
    assert "No daemon is running" in kbjobs("status").stderr
    job_id = int(kbjobs("run", "index-offline", small, "--detach").stdout)
    manager = JobManager(home)
    daemon = manager.get_daemon()
    assert daemon.running
    pid = daemon.pid
    assert pid is not None
    assert os.getsid(pid) == pid  # a session of its own
    for descriptor in (0, 1, 2):
        assert str(Path(f"/proc/{pid}/fd/{descriptor}").readlink()) == "/dev/null"
    inherited = [str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
    assert not [
        name for name in inherited if str(home.path) not in name and name.startswith("/") and name != "/dev/null"
    ]
    os.kill(pid, signal.SIGHUP)
    assert wait_ended(manager, job_id).status is Status.COMPLETED
    assert is_alive(pid)
    rss = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]
    assert rss < 60 * 1024


def test_the_daemon_survives_the_end_of_its_session(home: Home, small: str) -> None:
    """As when the SSH session ends: the leader dies, and everything of its session gets SIGHUP."""
    shell = subprocess.Popen(
        ["setsid", "sh", "-c", f"{sys.executable} -m kbjobs run index-offline {small} --detach; sleep 600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # which a suite under nohup ignores
    )
    assert shell.stdout is not None
    job_id = int(shell.stdout.readline())
    os.killpg(shell.pid, signal.SIGHUP)
    shell.wait()
    shell.stdout.close()
    manager = JobManager(home)
    assert wait_ended(manager, job_id).exit_code == 0
    assert manager.get_daemon().running


def test_two_submits_of_the_same_job_at_once(home: Home, docs: str, kbjobs: Kbjobs) -> None:
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda n: kbjobs("run", "index-offline", docs, "--detach", check=None), range(4)))
    assert sorted(one.returncode for one in ended) == [0, 5, 5, 5]
    assert all("job 1" in one.stderr for one in ended if one.returncode == 5)
    assert len(JobManager(home).get_job_history()) == 1


def test_a_killed_worker_is_noticed_within_two_seconds(home: Home, docs: str) -> None:
    manager = JobManager(home)
    job = running_job(manager, manager.submit("index_offline", docs))
    assert job.pid is not None
    killed = time.monotonic()
    os.kill(job.pid, signal.SIGKILL)
    wait_until(lambda: manager.get_status(job.id).attempt == 2, 10)
    assert time.monotonic() - killed < 2
    ended = wait_ended(manager, job.id)
    assert (ended.status, ended.exit_code, ended.attempt) == (Status.COMPLETED, 0, 2)
    assert ended.result is not None
    assert vectors_written(home) == ended.result["embedded"]  # none again that the dead worker had committed
    assert verify(home, docs).ok
    assert [one.outcome for one in manager.get_attempts(job.id)] == ["requeue", "complete"]
    assert {log.name for log in home.logs.iterdir()} == {"1-1.log", "1-2.log"}


def test_killed_daemon_and_worker(home: Home, docs: str, kbjobs: Kbjobs) -> None:
    manager = JobManager(home)
    job = running_job(manager, manager.submit("index_offline", docs))
    daemon = known(manager.get_daemon().pid)
    assert job.pid is not None
    os.kill(daemon, signal.SIGKILL)
    os.kill(job.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(home))
    assert manager.get_status(job.id).status is Status.RUNNING  # nobody has looked yet
    assert "submit, resume and wait start one" in kbjobs("status").stderr
    assert "completed" in kbjobs("wait", job.id).stdout
    assert manager.get_status(job.id).attempt == 2
    assert verify(home, docs).ok


def test_a_worker_outlives_a_killed_daemon_and_is_adopted(home: Home, steps: Job) -> None:
    manager, job = JobManager(home), steps
    os.kill(known(manager.get_daemon().pid), signal.SIGKILL)
    wait_until(lambda: not is_running(home))
    ensure_daemon(home)
    ended = wait_ended(manager, job.id)
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 1)


def test_an_adopted_worker_that_dies_is_noticed(home: Home, steps: Job) -> None:
    manager, job = JobManager(home), steps
    assert job.pid is not None
    os.kill(known(manager.get_daemon().pid), signal.SIGKILL)
    wait_until(lambda: not is_running(home))
    ensure_daemon(home)
    killed = time.monotonic()
    os.kill(job.pid, signal.SIGKILL)
    wait_until(lambda: manager.get_status(job.id).attempt == 2, 10)
    assert time.monotonic() - killed < 2
    assert wait_ended(manager, job.id).status is Status.COMPLETED


def test_a_graceful_stop_gives_the_jobs_back(home: Home, docs: str, kbjobs: Kbjobs) -> None:
    manager = JobManager(home)
    job = running_job(manager, manager.submit("index_offline", docs))
    kbjobs("daemon", "stop")
    assert not is_running(home)
    stopped = manager.get_status(job.id)
    assert stopped.status is Status.PENDING
    assert job.pid is not None
    assert not is_alive(job.pid)
    kbjobs("daemon", "start")
    ended = wait_ended(manager, job.id)
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 2)
    assert ended.result is not None
    assert vectors_written(home) == ended.result["embedded"]


def test_stop_now_kills_and_gives_back(home: Home, steps: Job) -> None:
    manager, job = JobManager(home), steps
    assert stop_daemon(home, now=True, seconds=20)
    assert manager.get_status(job.id).status is Status.PENDING
    assert job.run_id is not None
    assert processes_of_run(job.run_id) == []


@pytest.mark.full
def test_cancel_keeps_what_was_done_and_resume_goes_on(home: Home, docs: str, kbjobs: Kbjobs) -> None:
    manager = JobManager(home)
    job = running_job(manager, manager.submit("index_offline", docs))
    kbjobs("cancel", job.id)
    assert kbjobs("wait", job.id, check=9).returncode == 9
    cancelled = manager.get_status(job.id)
    assert (cancelled.status, cancelled.exit_code) == (Status.CANCELLED, 9)
    resumed = kbjobs("resume", job.id, "--json")
    last = resumed.stdout.splitlines()[-1]
    assert '"event": "finished"' in last
    ended = manager.get_status(job.id)
    assert (ended.status, ended.attempt) == (Status.COMPLETED, 2)
    assert ended.result is not None
    assert vectors_written(home) == ended.result["embedded"]


def test_a_worker_that_does_not_stop_is_killed_after_the_grace(
    home: Home, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("KBJOBS_GRACE_SECONDS", "1")
    manager, job = JobManager(home), request.getfixturevalue("steps")
    assert job.pid is not None
    os.kill(job.pid, signal.SIGSTOP)
    manager.cancel(job.id)
    assert wait_ended(manager, job.id, 20).status is Status.CANCELLED
    assert not is_alive(job.pid)


def test_no_more_than_the_set_number_of_workers(home: Home, tmp_path: Path, test_types: None) -> None:
    manager = JobManager(home)
    ids = []
    for number in range(4):
        register(home, f"s{number}", [write_pages(tmp_path / f"p{number}", 1)])
        ids.append(manager.submit("steps", f"s{number}", count=20, seconds=0.05))
    max_running = 0
    for _ in manager.follow(ids, revive=False):
        max_running = max(max_running, sum(job.status is Status.RUNNING for job in manager.get_active_jobs()))
    assert max_running == 2
    assert {manager.get_status(job_id).exit_code for job_id in ids} == {0}


@pytest.mark.full
def test_a_crash_at_every_start_ends_as_interrupted(home: Home, small: str) -> None:
    """A model cache that kills its worker: three deaths, then the job is left alone, and says so."""
    manager = JobManager(home)
    home.prepare()
    # A source whose lock file cannot be opened as one ends every worker at once, before any progress.
    queue = Queue(home.state_file)
    queue.connection.execute(
        "CREATE TRIGGER poison AFTER UPDATE OF pid ON jobs WHEN new.pid IS NOT NULL BEGIN"
        " SELECT raise(ABORT, 'the worker cannot write its process'); END"
    )
    queue.close()
    job_id = manager.submit("index_offline", small)
    ended = wait_ended(manager, job_id, 30)
    assert (ended.status, ended.exit_code, ended.attempt) == (Status.INTERRUPTED, 10, 3)
    assert "3 times without progress" in ended.message
    assert is_running(home)


def test_what_a_dead_worker_left_behind_is_killed_and_nothing_else(home: Home) -> None:
    environment = {**os.environ, RUN_VARIABLE: "run-of-a-dead-worker"}
    leftover = subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"], env=environment, start_new_session=True)
    stranger = subprocess.Popen(["sleep", "600"], env={**os.environ, RUN_VARIABLE: "another-run"})
    try:
        wait_until(lambda: len(processes_of_run("run-of-a-dead-worker")) == 3)
        kill_processes_of_run("run-of-a-dead-worker")
        leftover.wait(10)
        wait_until(lambda: not processes_of_run("run-of-a-dead-worker"))
        assert is_alive(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_left_over_is_found_whatever_its_name(tmp_path: Path) -> None:
    """The kernel cuts a name after 15 bytes, in the middle of a letter too."""
    program = tmp_path / "fourteen-bytesü"
    shutil.copy(known(shutil.which("sleep")), program)
    left = subprocess.Popen([program, "600"], env={RUN_VARIABLE: "run-with-a-cut-name"})
    try:
        wait_until(lambda: Path(f"/proc/{left.pid}/comm").read_bytes() == b"fourteen-bytes\xc3\n")
        assert processes_of_run("run-with-a-cut-name") == [left.pid]
        assert kill_processes_of_run("run-with-a-cut-name") == [left.pid]
    finally:
        left.kill()
        left.wait()


def test_a_reused_pid_is_not_taken_for_the_worker(home: Home, small: str) -> None:
    """A running job whose recorded process is now somebody else's: it is requeued, the other one lives."""
    home.prepare()
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        manager = JobManager(home)
        job_id = manager.submit("index_offline", small)
        wait_until(lambda: manager.get_status(job_id).has_ended)
        stop_daemon(home, now=True, seconds=20)
        queue = Queue(home.state_file)
        resumable = manager.submit("index_offline", small, limit=1)
        stop_daemon(home, now=True, seconds=20)
        claimed = queue.claim("run-before-the-reboot")
        if claimed is not None:
            queue.set_pid(claimed.id, "run-before-the-reboot", stranger.pid)
        queue.close()
        ensure_daemon(home)
        assert wait_ended(manager, resumable).status is Status.COMPLETED
        assert is_alive(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()


def test_a_daemon_whose_home_is_gone_ends(home: Home) -> None:
    ensure_daemon(home)
    manager = JobManager(home)
    pid = known(manager.get_daemon().pid)
    home.state_file.rename(home.path / "moved.db")
    os.kill(pid, signal.SIGCHLD)  # any wake-up
    wait_until(lambda: not is_locked(home.daemon_lock))


@pytest.mark.full
def test_an_idle_daemon_costs_nothing(home: Home) -> None:
    ensure_daemon(home)
    pid = JobManager(home).get_daemon().pid

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def is_quiet() -> bool:
        before = ticks()
        time.sleep(5)  # the span that is measured
        return ticks() - before <= 1  # of 500

    wait_until(is_quiet)  # it may still be starting
    assert is_quiet()
