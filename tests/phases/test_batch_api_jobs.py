"""Jobs that wait for a batch: they keep no worker, lose nothing to kills and reboots, and end as one wishes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.errors import ConflictError, ExitCode
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register, verify
from kbjobs.store import clocks
from kbjobs.store.history import list_attempts
from kbjobs.store.jobs import Job
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Status
from tests.conftest import Kbjobs, known, read_json, wait_ended, wait_until, write_pages
from tests.phases.test_batch_api import check
from tests.servers.openai_server import OpenAIServer

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBJOBS_WORKERS", "1")
    monkeypatch.setenv("KBJOBS_BATCH_POLL_SECONDS", "0.2")


@pytest.fixture
def docs(home: Home, tmp_path: Path, openai_api: OpenAIServer) -> Path:
    """A source of 40 small pages, and a server whose batches end when the test says so."""
    pages = write_pages(tmp_path / "pages", 40)
    register(home, "docs", [pages])
    openai_api.desk.is_slow = True
    return pages


def submit(home: Home) -> tuple[JobManager, int]:
    """The job, at the moment in which it waits."""
    manager = JobManager(home)
    job_id = manager.submit_job("index_online", "docs", {"batch_api": True}).id
    wait_until(lambda: manager.get_status(job_id).is_waiting)
    return manager, job_id


def finish(manager: JobManager, openai_api: OpenAIServer, job_id: int) -> Job:
    openai_api.desk.is_slow = False
    for _ in manager.follow([job_id], revive=True):
        pass
    return manager.get_status(job_id)


def test_another_job_runs_while_one_waits(home: Home, tmp_path: Path, docs: Path, openai_api: OpenAIServer) -> None:
    """There is one worker, and the job that waits does not keep it; nor its source."""
    manager, job_id = submit(home)
    register(home, "other", [write_pages(tmp_path / "other", 3)])
    for source in ("other", "docs"):
        other = wait_ended(manager, manager.submit("metadata", source))
        assert (other.status, other.exit_code) == (Status.COMPLETED, 0)
    assert not manager.get_status(job_id).has_ended
    looks = len(openai_api.desk.log.requests)
    wait_until(lambda: len(openai_api.desk.log.requests) > looks + 1)  # it goes on looking
    job = finish(manager, openai_api, job_id)
    assert (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 1)
    check(home, openai_api, 40)
    assert [path.name for path in home.logs.glob(f"{job_id}-*.log")] == [f"{job_id}-1.log"]
    log = home.log_file(job_id, 1).read_text()
    assert log.count("waiting for 1 batch") >= 2
    queue = Queue(home.state_file)
    assert [attempt.outcome for attempt in list_attempts(queue, job_id)] == ["complete"]
    queue.close()


def test_what_it_waits_for_is_shown(kbjobs: Kbjobs, home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    manager, job_id = submit(home)
    [batch] = openai_api.desk.batches
    openai_api.desk.progress(batch, 12)
    wait_until(lambda: (phase := manager.get_status(job_id).phase) and phase.current == 12)
    job = wait_until(lambda: (job := manager.get_status(job_id)).is_waiting and job)
    assert job.message.startswith("waiting for 1 batch, next look at ")
    assert (job.phase.current, job.phase.total, job.phase.unit) == (12, 40, "chunks")
    assert 0 < job.progress < 100
    shown = kbjobs("status").stdout
    assert "waiting for 1 batch, next look at" in shown and "12/40 chunks" in shown
    assert read_json(kbjobs("status", str(job_id), "--json"))["status"] in ("pending", "running")
    finish(manager, openai_api, job_id)


@pytest.mark.full
def test_who_follows_goes_on_following(kbjobs: Kbjobs, home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    command = [sys.executable, "-m", "kbjobs", "run", "index-online", "docs", "--batch-api"]
    following = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    manager = JobManager(home)
    wait_until(lambda: manager.get_active_jobs() and manager.get_status(1).is_waiting)
    waiting = subprocess.Popen([sys.executable, "-m", "kbjobs", "wait", "1"], stderr=subprocess.PIPE, text=True)
    looks = len(openai_api.desk.log.requests)
    wait_until(lambda: len(openai_api.desk.log.requests) > looks + 2)
    assert following.poll() is None and waiting.poll() is None
    openai_api.desk.is_slow = False
    output, messages = following.communicate(timeout=60)
    assert (following.returncode, waiting.wait(60)) == (0, 0)
    assert "40 embedded" in output and "by the Batch API" in output
    assert "back in the queue" not in messages and "attempt" not in messages
    check(home, openai_api, 40)


@pytest.mark.full
def test_the_time_limit_is_kept_while_it_waits(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    manager, job_id = submit(home)

    def limit() -> bool:
        """Set the limit while the job waits; it runs for a moment whenever it asks for its batch."""
        with suppress(ConflictError):
            return manager.edit(job_id, {"until": time.time() + 1.0}).until is not None
        return False

    wait_until(limit)
    job = wait_ended(manager, job_id)
    assert (job.status, job.exit_code, job.reason) == (Status.INTERRUPTED, ExitCode.TIME_LIMIT, "time_limit")
    manager.resume(job_id)
    job = finish(manager, openai_api, job_id)
    assert (job.status, job.attempt) == (Status.COMPLETED, 2)
    check(home, openai_api, 40)


@pytest.mark.parametrize("again", ["resume", "retry", "a new job", "without --batch-api"])
def test_a_cancelled_job_leaves_its_batch_to_the_next(
    kbjobs: Kbjobs, home: Home, docs: Path, openai_api: OpenAIServer, again: str
) -> None:
    manager, job_id = submit(home)
    kbjobs("cancel", str(job_id))
    job = wait_ended(manager, job_id)
    assert (job.status, job.exit_code) == (Status.CANCELLED, ExitCode.CANCELLED)
    assert [one["status"] for one in openai_api.desk.batches.values()] == ["in_progress"]
    if again == "resume":
        manager.resume(job_id)
    elif again == "retry":
        manager.retry(job_id)
    else:
        job_id = manager.submit("index_online", "docs", batch_api=again == "a new job")
    wait_until(lambda: manager.get_status(job_id).is_waiting)
    job = finish(manager, openai_api, job_id)
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0)
    assert job.result is not None and job.result["embedded"] == 40
    assert len(openai_api.desk.batches) == 1 and openai_api.requests == []
    assert sorted(openai_api.sold_texts) == sorted(set(openai_api.sold_texts))
    assert verify(home, "docs").ok


def test_a_cancelled_job_says_that_the_batch_goes_on(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_BATCH_POLL_SECONDS", "3600")  # no worker is just looking
    manager, job_id = submit(home)
    manager.cancel(job_id)
    job = manager.get_status(job_id)
    assert job.status is Status.CANCELLED
    assert "cancelled while waiting for 1 batch" in job.message
    assert "what is under way is taken up by the next run" in job.message


@pytest.mark.processes
def test_a_daemon_that_is_killed_loses_nothing(home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    manager, job_id = submit(home)
    os.kill(known(manager.get_daemon().pid), signal.SIGKILL)
    wait_until(lambda: not is_running(home))
    openai_api.desk.end()
    job = finish(manager, openai_api, job_id)
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0)
    check(home, openai_api, 40)


@pytest.mark.full
@pytest.mark.processes
def test_after_a_reboot_it_looks_at_once(
    home: Home, docs: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_BATCH_POLL_SECONDS", "3600")
    manager, job_id = submit(home)
    os.kill(known(manager.get_daemon().pid), signal.SIGKILL)
    wait_until(lambda: not is_running(home))
    queue = Queue(home.state_file)
    queue.connection.execute("UPDATE jobs SET retry_boot = ?", (clocks.boot_id()[::-1],))  # of another boot
    queue.connection.commit()
    queue.close()
    job = finish(manager, openai_api, job_id)
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0)
    check(home, openai_api, 40)


def test_in_a_chain_the_phases_before_are_not_run_again(
    kbjobs: Kbjobs, home: Home, tmp_path: Path, docs: Path, openai_api: OpenAIServer
) -> None:
    chain = tmp_path / "night.toml"
    chain.write_text(
        'name = "night"\nsource = "docs"\n[[phase]]\njob = "metadata"\n'
        '[[phase]]\njob = "index_online"\nparams = { batch_api = true }\n'
    )
    kbjobs("chain", str(chain), "--detach")
    manager = JobManager(home)
    wait_until(lambda: manager.get_status(1).is_waiting)
    assert [phase.status for phase in manager.get_status(1).phases] == ["completed", "pending"]
    job = finish(manager, openai_api, 1)
    assert (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 1)
    assert home.log_file(1, 1).read_text().count("phase metadata begins") == 1
    check(home, openai_api, 40)


def test_a_server_without_batches(kbjobs: Kbjobs, home: Home, docs: Path, openai_api: OpenAIServer) -> None:
    openai_api.desk.is_there = False
    refused = kbjobs("run", "index-online", "docs", "--batch-api", check=ExitCode.MISSING_REQUIREMENT)
    assert "has no Batch API" in refused.stderr and "without --batch-api" in refused.stderr
    assert "40 embedded" in kbjobs("run", "index-online", "docs").stdout
