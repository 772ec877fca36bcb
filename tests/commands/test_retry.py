"""``kbjobs retry``: ended jobs again from the start, under their ids."""

from __future__ import annotations

import json

from kbjobs.api import JobManager
from kbjobs.settings import Home
from kbjobs.store.transitions import Status
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "retry")


def test_an_empty_home_and_an_unknown_job(home: Home, kbjobs: Kbjobs) -> None:
    refused = kbjobs("retry", "1", check=4)
    assert (refused.stdout, "there is no job 1" in refused.stderr) == ("", True)
    kbjobs("retry", check=2)
    assert not home.state_file.exists()


def test_it_runs_again_under_its_id(home: Home, source: str, kbjobs: Kbjobs) -> None:
    kbjobs("run", "steps", source, "--count", "2", "--quiet")
    again = kbjobs("retry", "1")
    assert "job 1 steps a: completed in" in again.stdout and "after 2 attempts: 2 steps" in again.stdout
    job = JobManager(home).get_status(1)
    assert (job.attempt, job.status) == (2, Status.COMPLETED)
    assert {log.name for log in home.logs.iterdir()} == {"1-1.log", "1-2.log"}
    last = json.loads(kbjobs("retry", "1", "--json").stdout.splitlines()[-1])
    assert (last["event"], last["job"]["attempt"]) == ("finished", 3)


def test_detached_and_of_several_the_worst_code(home: Home, source: str, kbjobs: Kbjobs) -> None:
    kbjobs("run", "steps", source, "--count", "0", "--quiet")
    told = kbjobs("retry", "1", "99", "--detach", check=4)
    assert (told.stdout, "queued: 1\n" in told.stderr, "there is no job 99" in told.stderr) == ("", True, True)
    kbjobs("wait", "1", "--quiet")
    assert JobManager(home).get_status(1).attempt == 2


def test_a_live_job_is_refused(home: Home, source: str, kbjobs: Kbjobs) -> None:
    JobManager(home).submit("steps", source, count=600, seconds=0.05)
    refused = kbjobs("retry", "1", check=5)
    assert "job 1 is" in refused.stderr
