"""A pause as the daemon keeps it: over restarts, kills, and workers that do not listen."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running, stop_daemon
from kbjobs.services import job_events
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.jobs import Job
from kbjobs.store.transitions import Status
from tests.conftest import is_alive, wait_ended, wait_until, write_pages


@pytest.fixture
def manager(home: Home, tmp_path: Path, test_types: None) -> JobManager:
    for name in ("a", "b"):
        register(home, name, [write_pages(tmp_path / name, 1)])
    return JobManager(home)


def begun(manager: JobManager, job_id: int) -> Job:
    """The job, once it runs and has done something."""

    def found() -> Job | None:
        job = manager.get_status(job_id)
        return job if job.status is Status.RUNNING and job.saved else None

    job: Job = wait_until(found)
    return job


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_it_holds_whatever_becomes_of_the_daemon(home: Home, manager: JobManager, end: str) -> None:
    manager.pause("a")
    held = manager.submit("steps", "a", count=1)
    if end == "stop":
        stop_daemon(home, now=False, seconds=30)
    else:
        os.kill(manager.get_daemon().pid or 0, signal.SIGKILL)
        wait_until(lambda: not is_running(home))
    other = manager.submit("steps", "b", count=1)  # starts the next daemon
    assert wait_ended(manager, other).exit_code == 0
    assert manager.get_status(held).status is Status.PENDING
    assert manager.get_held_jobs().keys() == {held}
    manager.unpause("a")
    assert wait_ended(manager, held).exit_code == 0


def test_only_the_jobs_of_the_source_stop(home: Home, manager: JobManager) -> None:
    ids = [manager.submit("steps", name, count=600, seconds=0.05) for name in ("a", "b")]
    first, second = (begun(manager, job_id) for job_id in ids)
    manager.pause("a", stop_running=True)
    waits = wait_until(lambda: (job := manager.get_status(first.id)).status is Status.PENDING and job)
    assert waits.saved >= first.saved
    still = manager.get_status(second.id)
    assert (still.status, still.run_id) == (Status.RUNNING, second.run_id)


def test_a_worker_deaf_to_the_request_is_killed_and_that_is_no_death(
    home: Home, manager: JobManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_GRACE_SECONDS", "0.3")
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1")
    job_id = manager.submit("steps", "a", misbehave="deaf")
    for attempt in (1, 2):
        job = wait_until(lambda: (job := manager.get_status(job_id)).pid and job)
        assert job.attempt == attempt
        manager.pause(stop_running=True)
        waits = wait_until(lambda: (job := manager.get_status(job_id)).status is not Status.RUNNING and job)
        assert (waits.status, waits.message) == (Status.PENDING, "paused; what was done is kept")
        assert not is_alive(job.pid)
        manager.unpause()
    wait_until(lambda: manager.get_status(job_id).attempt == 3)


def test_a_job_goes_on_from_its_checkpoint(home: Home, manager: JobManager) -> None:
    job_id = manager.submit("steps", "a", count=60, seconds=0.05, remember=True)
    begun(manager, job_id)
    manager.pause(stop_running=True)
    wait_until(lambda: manager.get_status(job_id).status is Status.PENDING)
    manager.unpause()
    ended = wait_ended(manager, job_id)
    assert (ended.exit_code, ended.attempt, ended.result and ended.result["steps"]) == (0, 2, 60)


def test_a_follower_says_it_again_and_again(home: Home, manager: JobManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "HELD_SECONDS", 0.2)
    manager.pause()
    job_id = manager.submit("steps", "a", count=1)
    seen: list[str] = []
    for event in manager.follow([job_id], revive=True):
        seen.append(event.event)
        assert (event.pause is not None) == (event.event == "held")
        if seen.count("held") == 3:
            manager.unpause()
    assert seen[:4] == ["queued", "held", "held", "held"]
    assert seen[-1] == "finished"
    assert seen.count("held") == 3


def test_what_is_let_go_but_still_waits_is_told_as_queued(home: Home, manager: JobManager) -> None:
    busy = manager.submit("steps", "a", count=600, seconds=0.05)
    begun(manager, busy)
    manager.pause()
    waits = manager.submit("steps", "a", count=0)
    seen: list[str] = []
    for event in manager.follow([waits], revive=True):
        seen.append(event.event)
        if seen == ["queued", "held"]:
            manager.unpause()
        if seen == ["queued", "held", "queued"]:
            manager.cancel(waits)
    assert seen == ["queued", "held", "queued", "finished"]
