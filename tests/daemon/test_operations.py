"""What an operator relies on overnight: limits, retries, stalls, leftovers, secrets; with quick jobs of a test type."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from kbjobs.config.home import Home
from kbjobs.context import Context
from kbjobs.daemon.launching import ensure_daemon, is_running
from kbjobs.daemon.processes import processes_of_run
from kbjobs.errors import ConflictError, MissingRequirementError, UnavailableError
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.jobs import Job, Limits
from kbjobs.store.locks import lock_source
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from tests.conftest import Kbjobs, is_alive, read_json, wait_ended, wait_until, write_pages

pytestmark = pytest.mark.usefixtures("test_types")


@pytest.fixture
def manager(home: Home, tmp_path: Path) -> JobManager:
    for name in ("a", "b", "c"):
        register(home, name, [write_pages(tmp_path / name, 1)])
    return JobManager(home)


def started(manager: JobManager, job_id: int) -> Job:
    def found() -> Job | None:
        job = manager.get_status(job_id)
        return job if job.pid and job.phase else None

    job: Job = wait_until(found)
    return job


def test_the_time_limit_stops_at_a_checkpoint_and_resume_goes_on(manager: JobManager, kbjobs: Kbjobs) -> None:
    limited = kbjobs("run", "steps", "a", "--count", "40", "--seconds", "0.1", "--timeout", "1s", check=8)
    assert "time limit reached" in limited.stderr
    assert "kbjobs resume 1" in limited.stderr
    job = manager.get_status(1)
    assert (job.status, job.reason, job.exit_code) == (Status.INTERRUPTED, "time_limit", 8)
    ensure_daemon(manager.home)
    assert [row["id"] for row in read_json(kbjobs("interrupted", "--json"))] == [1]
    kbjobs("run", "steps", "b", "--count", "1")  # the daemon has looked at what there is to start, and started this
    assert manager.get_status(1).status is Status.INTERRUPTED
    again = kbjobs("resume", "--all", "--until", "+1s", check=8)
    assert "time limit" in again.stderr
    kbjobs("resume", "1", "--timeout", "1h")
    assert manager.get_status(1).attempt >= 2  # on a busy machine its second may be over before it began
    assert steps_done(manager.home, "a") == [(1, step) for step in range(40)]


def steps_done(home: Home, source: str) -> list[tuple[int, int]]:
    import kbjobs_test_types

    ledger = kbjobs_test_types.open_ledger(home.sources / source)
    rows = [tuple(row) for row in ledger.execute("SELECT job, step FROM steps ORDER BY job, step")]
    ledger.close()
    return rows


def test_a_pending_job_past_its_limit_ends_by_itself(manager: JobManager) -> None:
    running = manager.submit("steps", "a", count=30, seconds=0.1)
    started(manager, running)
    waiting = manager.submit_job("steps", "a", {"number": 2}, limits=Limits(until=time.time() + 1))
    job = wait_ended(manager, waiting.id, 10)
    assert (job.status, job.exit_code, job.attempt) == (Status.INTERRUPTED, 8, 0)
    assert manager.get_status(running).status is Status.RUNNING


def test_not_before_starts_at_its_moment(manager: JobManager) -> None:
    wished = time.time() + 2
    job = manager.submit_job("steps", "a", {"count": 0}, limits=Limits(not_before=wished))
    assert wait_ended(manager, job.id).exit_code == 0
    assert 0 <= time.time() - wished < 2


def test_another_job_on_a_busy_source_waits_and_blocks_nobody(manager: JobManager) -> None:
    first = manager.submit("steps", "a", count=20, seconds=0.1)
    second = manager.submit("steps", "a", count=1, number=2)
    third = manager.submit("steps", "b", count=1)
    assert wait_ended(manager, third).exit_code == 0
    assert manager.get_status(second).status is Status.PENDING
    assert wait_ended(manager, first).exit_code == 0
    assert wait_ended(manager, second).exit_code == 0


def test_passing_errors_are_tried_again(manager: JobManager, monkeypatch: pytest.MonkeyPatch, kbjobs: Kbjobs) -> None:
    monkeypatch.setenv("KBJOBS_RETRY_SECONDS", "0.2")
    failed = manager.submit("steps", "a", fail_first=1)
    assert wait_ended(manager, failed).exit_code == 1
    job = manager.submit_job("steps", "b", {"fail_first": 2}, limits=Limits(retries=2))
    assert wait_ended(manager, job.id).exit_code == 0
    attempts = manager.get_attempts(job.id)
    assert [one.outcome for one in attempts] == ["postpone", "postpone", "complete"]
    assert attempts[0].error == "the server is busy"
    exhausted = manager.submit_job("steps", "c", {"fail_first": 9}, limits=Limits(retries=1))
    assert wait_ended(manager, exhausted.id).attempt == 2
    shown = kbjobs("status", job.id).stdout
    assert shown.count("the server is busy") == 2


def test_a_stopped_worker_is_killed_and_its_job_requeued(manager: JobManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_STALL_AFTER", "5")
    job_id = manager.submit("steps", "a", count=12, seconds=0.1)
    job = started(manager, job_id)
    assert job.pid is not None
    os.kill(job.pid, signal.SIGSTOP)
    done = wait_ended(manager, job_id, 40)
    assert (done.status, done.attempt) == (Status.COMPLETED, 2)
    assert not is_alive(job.pid)
    assert steps_done(manager.home, "a") == [(job_id, step) for step in range(12)]
    assert "no heartbeat" in manager.home.daemon_log.read_text()


def test_a_worker_that_comes_back_changes_nothing(manager: JobManager) -> None:
    """Stopped, declared dead by hand, continued: it ends at once, and its successor is not disturbed."""
    job_id = manager.submit("steps", "a", count=30, seconds=0.1)
    job = started(manager, job_id)
    assert job.pid is not None
    assert job.run_id is not None
    os.kill(job.pid, signal.SIGSTOP)
    assert manager._state._queue is not None
    manager._state._queue.record_death(job_id, job.run_id, "said to be dead", 99)
    os.kill(job.pid, signal.SIGCONT)
    wait_until(lambda: not is_alive(job.pid or 0))
    done = wait_ended(manager, job_id)
    assert (done.status, done.attempt) == (Status.COMPLETED, 2)
    assert steps_done(manager.home, "a") == [(job_id, step) for step in range(30)]


def test_children_of_children_die_with_a_cancelled_job(manager: JobManager) -> None:
    job_id = manager.submit("steps", "a", count=600, seconds=0.1, misbehave="spawn")
    job = started(manager, job_id)
    assert job.run_id is not None
    run_id = job.run_id
    wait_until(lambda: len(processes_of_run(run_id)) == 4)
    manager.cancel(job_id)
    assert wait_ended(manager, job_id).status is Status.CANCELLED
    wait_until(lambda: not processes_of_run(run_id), 5)


def test_a_worker_deaf_to_sigterm_is_killed_after_the_grace(
    manager: JobManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_GRACE_SECONDS", "1")
    job_id = manager.submit("steps", "a", misbehave="deaf")
    wait_until(lambda: manager.get_status(job_id).pid)
    asked = time.monotonic()
    manager.cancel(job_id)
    assert wait_ended(manager, job_id).status is Status.CANCELLED
    assert 0.9 <= time.monotonic() - asked < 6
    assert manager.get_status(job_id).attempt == 1


@pytest.mark.full
def test_a_phase_that_hangs_past_its_limit_is_killed_and_does_not_run_again(
    manager: JobManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_GRACE_SECONDS", "0.2")
    monkeypatch.setenv("KBJOBS_STALL_AFTER", "5")
    job = manager.submit_job("steps", "a", {"misbehave": "deaf"}, limits=Limits(timeout=0.5))
    late = wait_ended(manager, job.id)
    assert (late.status, late.exit_code, late.reason, late.attempt) == (Status.INTERRUPTED, 8, "time_limit", 1)
    assert "what was done is kept" in late.message
    assert late.duration > 5


def test_a_poison_job_ends_as_interrupted_and_the_daemon_lives(manager: JobManager, kbjobs: Kbjobs) -> None:
    killed = kbjobs("run", "steps", "a", "--misbehave", "memory", check=10)
    assert "3 times without progress" in killed.stderr
    assert manager.get_status(1).attempt == 3
    assert is_running(manager.home)
    assert "3 times" in kbjobs("interrupted").stdout


def test_dimension_status(manager: JobManager, kbjobs: Kbjobs) -> None:
    assert manager.get_available_dimensions() == [384, 768, 1024, 1536]
    job_id = manager.submit("steps", "a", count=50, seconds=0.1)
    started(manager, job_id)
    expected = {"busy": True, "job": job_id, "source": "a", "operation": "step"}
    assert manager.get_dimension_status()[384] == expected
    assert manager.is_dimension_busy(384)
    assert not manager.is_dimension_busy(768)
    assert manager.get_available_dimensions() == [768, 1024, 1536]
    assert read_json(kbjobs("status", "--json"))["dimensions"]["384"] == expected


class TestSecrets:
    """A job that needs a key which its worker will not have is refused at submit, and says how to hand it over."""

    @pytest.fixture(autouse=True)
    def needs_a_key(self, test_types: None, manager: JobManager, monkeypatch: pytest.MonkeyPatch) -> None:
        import dataclasses

        import kbjobs_test_types

        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        needy = dataclasses.replace(kbjobs_test_types.JOB_TYPE, secrets=("OPENAI_API_KEY",))
        monkeypatch.setattr(kbjobs_test_types, "JOB_TYPE", needy)

    def test_nobody_has_it(self, manager: JobManager) -> None:
        with pytest.raises(MissingRequirementError, match="OPENAI_API_KEY") as caught:
            manager.submit("steps", "a")
        assert "config set-secret OPENAI_API_KEY" in caught.value.hint
        assert manager.get_job_history() == []

    def test_this_shell_has_it_but_the_running_daemon_does_not(
        self, manager: JobManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ensure_daemon(manager.home)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-value")
        with pytest.raises(MissingRequirementError, match="daemon was started without it") as caught:
            manager.submit("steps", "a")
        assert "daemon restart" in caught.value.hint

    def test_the_daemon_that_a_submit_starts_inherits_it(
        self, manager: JobManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-value")
        assert wait_ended(manager, manager.submit("steps", "a", count=1)).exit_code == 0
        assert manager.get_daemon().secrets == ("OPENAI_API_KEY",)

    def test_it_is_stored_and_never_shown(self, manager: JobManager, kbjobs: Kbjobs) -> None:
        ensure_daemon(manager.home)
        command = [sys.executable, "-m", "kbjobs", "config", "set-secret", "OPENAI_API_KEY"]
        value = 'sk-secret-"value"\\'
        stored = subprocess.run(command, input=value + "\n", text=True, capture_output=True, check=True)
        assert manager.home.secrets_file.stat().st_mode & 0o777 == 0o600
        assert wait_ended(manager, manager.submit("steps", "a", count=1)).exit_code == 0
        source = SourceFolder(manager.home.sources, "a")
        seen = Context(manager.home, manager.settings, source, 1, Mock(), lambda: False, logging.getLogger())
        assert seen.secret("OPENAI_API_KEY") == value  # as a phase asks for it
        shown = stored.stdout + stored.stderr
        for arguments in (["config", "show"], ["status", "--json"], ["logs", "1"], ["doctor", "--json"]):
            ended_command = kbjobs(*arguments, check=None)
            shown += ended_command.stdout + ended_command.stderr
        assert "secret-" not in shown
        for path in (*manager.home.path.glob("state.db*"), manager.home.daemon_log, *manager.home.logs.iterdir()):
            assert b"secret-" not in path.read_bytes()

    def test_a_file_that_others_can_read_is_refused(self, manager: JobManager) -> None:
        manager.home.secrets_file.write_text('OPENAI_API_KEY = "x"\n')
        manager.home.secrets_file.chmod(0o644)
        with pytest.raises(UnavailableError, match="can be read by others") as caught:
            manager.submit("steps", "a")
        assert "chmod 600" in caught.value.hint


@pytest.mark.full
def test_fifty_submits_at_once_on_a_cold_home(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    for number in range(50):
        register(home, f"s{number}", [pages])
    command = [sys.executable, "-m", "kbjobs", "run", "steps"]
    with ThreadPoolExecutor(50) as pool:
        results = list(
            pool.map(
                lambda n: subprocess.run(
                    [*command, f"s{n}", "--count", "1", "--detach"], capture_output=True, text=True, check=False
                ),
                range(50),
            )
        )
    assert [one.stderr for one in results if one.returncode] == []
    assert sorted(int(one.stdout) for one in results) == list(range(1, 51))
    assert home.daemon_log.read_text().count("daemon ") - home.daemon_log.read_text().count("has ended") == 1
    manager = JobManager(home)
    for _ in manager.follow(list(range(1, 51)), revive=False):
        pass
    assert {manager.get_status(job_id).exit_code for job_id in range(1, 51)} == {0}
    assert "locked" not in "".join(one.stderr for one in results) + home.daemon_log.read_text()


def test_niceness(manager: JobManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_NICE", "7")
    job_id = manager.submit("steps", "a", count=50, seconds=0.1)
    job = started(manager, job_id)
    assert os.getpriority(os.PRIO_PROCESS, job.pid or 0) == max(7, os.getpriority(os.PRIO_PROCESS, 0))


def test_a_job_waits_for_a_command_that_keeps_its_source(manager: JobManager) -> None:
    lock = lock_source(SourceFolder(manager.home.sources, "a").lock, "a", 1)
    job_id = manager.submit("steps", "a", count=1)
    wait_until(
        lambda: (
            "in use by another process" in manager.log_file(manager.get_status(job_id)).read_text()
            if manager.get_status(job_id).attempt
            else False
        )
    )
    assert manager.get_status(job_id).status is Status.RUNNING
    lock.release()
    assert wait_ended(manager, job_id).exit_code == 0


def test_a_type_that_is_gone_fails_with_its_name(manager: JobManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    job_id = manager.submit("steps", "a", count=1)  # known here, not to the worker
    job = wait_ended(manager, job_id)
    assert (job.status, job.exit_code, job.attempt) == (Status.FAILED, 2, 1)
    assert "unknown job type 'steps'" in (job.error or "")


def test_a_follower_sees_what_its_own_process_writes(manager: JobManager) -> None:
    first = manager.submit("steps", "a", count=50, seconds=0.1)
    started(manager, first)
    second = manager.submit("steps", "a", number=2)
    for event in manager.follow([second], revive=False):
        if event.event == "queued":
            manager.cancel(second)
    assert manager.get_status(second).status is Status.CANCELLED


def test_a_conflict_is_a_conflict_for_python_too(manager: JobManager) -> None:
    manager.submit("steps", "a", count=30, seconds=0.1)
    with pytest.raises(ConflictError):
        manager.submit("steps", "a", count=30, seconds=0.1)
