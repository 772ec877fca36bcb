"""``kbjobs watch``: looking on. On a terminal: tests/commands/test_terminal.py."""

from __future__ import annotations

import json
import time

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running, stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Limits
from kbjobs.store.queue import Queue
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "watch")


def test_without_anything_to_watch(home: Home, kbjobs: Kbjobs) -> None:
    shown = kbjobs("watch")
    assert (shown.stdout, shown.stderr) == ("", "No job is running or waiting.\n")
    assert "there is no job 7" in kbjobs("watch", "7", check=4).stderr
    assert "--progress" in kbjobs("watch", "--progress", "nonsense", check=2).stderr
    assert not home.state_file.exists()


def test_an_ended_job_gives_its_code_and_how_it_ended(past: Queue, home: Home, kbjobs: Kbjobs) -> None:
    assert kbjobs("watch", "1").stdout.endswith("it is done\n")
    failed = kbjobs("watch", "2", check=1)
    assert (failed.stdout, "the source is broken\nMend it." in failed.stderr) == ("", True)
    [line] = kbjobs("watch", "3", "--json", check=8).stdout.splitlines()
    assert json.loads(line)["job"]["status"] == "interrupted"
    assert not is_running(home)


def test_all_live_jobs_are_watched_to_their_end(home: Home, source: str, kbjobs: Kbjobs) -> None:
    JobManager(home).submit("steps", source, count=10, seconds=0.02)
    assert "job 1 steps a: completed in" in kbjobs("watch").stdout


def test_a_daemon_is_started_where_none_runs(home: Home, source: str, kbjobs: Kbjobs) -> None:
    job_id = JobManager(home).submit_job("steps", source, {}, limits=Limits(not_before=time.time() + 2)).id
    stop_daemon(home, now=True, seconds=20)
    assert "completed in" in kbjobs("watch", str(job_id)).stdout
    assert is_running(home)
