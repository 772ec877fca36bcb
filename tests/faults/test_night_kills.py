"""Kills around a pause and around the command after a job: nothing is lost, and nothing is told twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon, is_running
from kbjobs.daemon.processes import processes_of_run
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, wait_ended, wait_until, write_pages
from tests.job_types.kbjobs_test_types import open_ledger

pytestmark = pytest.mark.processes


@pytest.fixture
def manager(home: Home, tmp_path: Path, test_types: None) -> JobManager:
    for name in ("a", "b"):
        register(home, name, [write_pages(tmp_path / name, 1)])
    return JobManager(home)


@pytest.fixture
def told(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where on_finish writes a line, job and attempt, for each time it is run."""
    program, told = tmp_path / "notify", tmp_path / "told"
    program.write_text('#!/bin/sh\necho "$KBJOBS_JOB_ID" >>"$TOLD"\nsleep 0.1\n')
    program.chmod(0o700)
    home.config_file.write_text(f"on_finish = {json.dumps([str(program)])}\n")
    monkeypatch.setenv("TOLD", str(told))
    told.touch()
    return told


def all_closed(home: Home) -> bool:
    queue = Queue(home.state_file)
    left = queue.connection.execute("SELECT count(*) FROM ends").fetchone()[0]
    queue.close()
    return left == 0


def kbjobs(*arguments: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "kbjobs", *arguments], capture_output=True, timeout=60, check=False
    ).returncode


def test_a_pause_is_kept_by_whoever_is_killed_after_it(
    manager: JobManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = manager.submit("steps", "a", count=600, seconds=0.05)
    wait_until(lambda: manager.get_status(job_id).saved)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"pause.committed:{marker}")
    assert kbjobs("pause", "--running") == -signal.SIGKILL
    wait_until(lambda: manager.get_status(job_id).status is Status.PENDING)  # nobody was told but by the row
    assert [pause.source for pause in manager.get_pauses()] == [None]


def test_an_unpause_is_kept_by_whoever_is_killed_after_it(
    home: Home, manager: JobManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.pause()
    job_id = manager.submit("steps", "a", count=1)
    os.kill(manager.get_daemon().pid or 0, signal.SIGKILL)
    wait_until(lambda: not is_running(home))
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"pause.ended:{marker}")
    assert kbjobs("unpause") == -signal.SIGKILL
    assert marker.exists() and not is_running(home)
    ensure_daemon(home)
    assert wait_ended(manager, job_id).exit_code == 0


@pytest.mark.parametrize(
    ("point", "is_told"),
    [("finish.taken", False), ("finish.started", True), ("finish.ended", True), ("finish.closed", True)],
)
def test_a_kill_around_the_command_never_runs_it_twice(
    home: Home,
    manager: JobManager,
    told: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    is_told: bool,
) -> None:
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    job_id = manager.submit("steps", "a", count=1)
    wait_until(marker.exists)
    wait_until(lambda: not is_running(home))
    assert manager.get_status(job_id).exit_code == 0
    ensure_daemon(home)
    wait_until(lambda: all_closed(home))
    after = manager.submit("steps", "b", count=1)  # the next one is told as ever
    wait_until(lambda: str(after) in told.read_text().split() and all_closed(home))
    assert Counter(told.read_text().split()) == Counter([str(job_id)] * is_told + [str(after)])
    says_so = "on_finish may not have run" in home.log_file(job_id, 1).read_text()
    assert says_so or is_told


@pytest.mark.full
@pytest.mark.long
@pytest.mark.parametrize("seed", range(FACTOR))
def test_random_kills_of_the_daemon_tell_each_end_at_most_once(
    home: Home, manager: JobManager, told: Path, seed: int
) -> None:
    generator = random.Random(seed)
    jobs = [manager.submit("steps", "ab"[number % 2], count=2, number=number) for number in range(24)]
    kills = 0
    while manager.get_active_jobs() or not all_closed(home):
        ensure_daemon(home)
        if kills < 12:
            time.sleep(generator.uniform(0.0, 0.5))  # anywhere in its work
            with contextlib.suppress(ProcessLookupError):
                os.kill(manager.get_daemon().pid or 0, signal.SIGKILL)
                kills += 1
            wait_until(lambda: not is_running(home))
        else:
            wait_until(lambda: not manager.get_active_jobs() and all_closed(home), 60)
    assert kills > 3
    counts = Counter(map(int, told.read_text().split()))
    assert set(counts.values()) == {1}
    assert counts.keys() <= set(jobs)
    for job_id in set(jobs) - counts.keys():  # the few that were lost are said to be
        assert "on_finish may not have run" in home.log_file(job_id, manager.get_status(job_id).attempt).read_text()


@pytest.mark.full
@pytest.mark.long
@pytest.mark.parametrize("seed", range(FACTOR))
def test_random_kills_and_pauses_lose_no_step_and_do_none_twice(home: Home, manager: JobManager, seed: int) -> None:
    generator = random.Random(seed)
    job_id = manager.submit("steps", "a", count=150, seconds=0.02)
    runs = set()
    for _ in range(8):
        ensure_daemon(home)
        job = wait_until(lambda: ((job := manager.get_status(job_id)).has_ended and job) or (job.pid and job), 30)
        if job.has_ended:
            break
        runs.add(job.run_id)
        time.sleep(generator.uniform(0.0, 0.2))
        manager.pause(generator.choice([None, "a"]), stop_running=True)
        time.sleep(generator.uniform(0.0, 0.3))  # before, while and after it stops
        with contextlib.suppress(ProcessLookupError):
            if generator.random() < 0.6:
                os.kill(manager.get_daemon().pid or 0, signal.SIGKILL)
            if generator.random() < 0.6:
                os.kill(job.pid, signal.SIGKILL)
        wait_until(lambda: not is_running(home) or manager.get_daemon().running)
        ensure_daemon(home)
        waits = wait_until(lambda: (job := manager.get_status(job_id)).status is not Status.RUNNING and job, 30)
        assert waits.has_ended or waits.status is Status.PENDING
        wait_until(lambda run=job.run_id: not processes_of_run(run))
        assert manager.get_held_jobs().keys() == (set() if waits.has_ended else {job_id})
        for source in (None, "a"):
            manager.unpause(source)
    ended = wait_ended(manager, job_id)
    assert (ended.status, ended.exit_code) == (Status.COMPLETED, 0)
    assert len(runs) > 3
    ledger = open_ledger(SourceFolder(home.sources, "a").path)
    steps = [row[0] for row in ledger.execute("SELECT step FROM steps ORDER BY step")]
    meetings = ledger.execute("SELECT count(*) FROM meetings").fetchone()[0]
    ledger.close()
    assert (steps, meetings) == (list(range(150)), 0)
