"""``kbjobs retry``: ended jobs again from the start, under their ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.clocks import now_text
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, wait_until, write_pages


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
    output = kbjobs("retry", "1", "99", "--detach", check=4)
    assert (output.stdout, "queued: 1\n" in output.stderr, "there is no job 99" in output.stderr) == ("", True, True)
    kbjobs("wait", "1", "--quiet")
    assert JobManager(home).get_status(1).attempt == 2


def test_quiet_says_only_what_is_wrong_and_progress_is_that_of_run(home: Home, source: str, kbjobs: Kbjobs) -> None:
    nothing = kbjobs("retry", "--all-failed", "--quiet")
    assert (nothing.stdout, nothing.stderr) == ("", "")
    kbjobs("run", "steps", source, "--count", "1", "--quiet")
    again = kbjobs("retry", "1", "--quiet")
    assert (again.stdout, again.stderr) == ("", "")
    output = kbjobs("retry", "1", "--quiet", "--detach")
    assert (output.stdout, output.stderr) == ("", "")
    kbjobs("wait", "1", "--quiet")
    assert "attempt 4 started" in kbjobs("retry", "1", "--progress", "plain").stderr
    silent = kbjobs("retry", "1", "--progress", "none")
    assert (silent.stdout, silent.stderr) == ("", "")


def test_a_live_job_is_refused(home: Home, source: str, kbjobs: Kbjobs) -> None:
    JobManager(home).submit("steps", source, count=600, seconds=0.05)
    refused = kbjobs("retry", "1", check=5)
    assert "job 1 is" in refused.stderr


@pytest.fixture
def failed(home: Home, source: str, tmp_path: Path, kbjobs: Kbjobs) -> list[int]:
    """The ids of jobs that failed and are still undone; others have succeeded, or were done since."""
    register(home, "b", [write_pages(tmp_path / "b", 1)])
    fails = ("--count", "0", "--fail", "--quiet")
    kbjobs("run", "steps", source, *fails, check=1)  # 1: the same as 4
    kbjobs("run", "steps", source, "--count", "0", "--quiet")
    kbjobs("run", "steps", "b", *fails, "--number", "1", check=1)
    kbjobs("run", "steps", source, *fails, check=1)
    kbjobs("run", "steps", "b", *fails, check=1)  # 5: done since, by 6
    (SourceFolder(home.sources, "b").path / "mended").touch()
    kbjobs("run", "steps", "b", *fails)
    return [3, 4]


def test_all_that_failed_and_is_undone(home: Home, failed: list[int], kbjobs: Kbjobs) -> None:
    manager = JobManager(home)
    assert [job.id for job in manager.get_failed_jobs()] == failed
    output = kbjobs("retry", "--all-failed", check=1)  # 3 is mended, 4 is not
    assert "job 3 steps b: completed" in output.stdout and "the source is broken" in output.stderr
    assert [manager.get_status(number).attempt for number in range(1, 7)] == [1, 1, 2, 2, 1, 1]
    kbjobs("pause")
    assert kbjobs("retry", "--all-failed", "--detach").stderr.startswith("queued: 4\n")
    assert kbjobs("retry", "--all-failed").stderr == "Nothing to retry.\n"  # it waits already


def test_filters_choose_among_them(home: Home, failed: list[int], kbjobs: Kbjobs) -> None:
    ends = [job.finished_at or "" for job in JobManager(home).get_job_history()]
    wait_until(lambda: now_text() > max(ends))  # times are of whole seconds
    assert kbjobs("retry", "--all-failed", "--source", "b", "--days", "0").stderr == "Nothing to retry.\n"
    assert kbjobs("retry", "--all-failed", "--type", "metadata").stderr == "Nothing to retry.\n"
    assert "there is no job type" in kbjobs("retry", "--all-failed", "--type", "step", check=4).stderr
    assert "there is no source" in kbjobs("retry", "--all-failed", "--source", "c", check=4).stderr
    kbjobs("retry", "--all-failed", "--source", "b", "--days", "1", "--type", "steps")
    assert [job.attempt for job in reversed(JobManager(home).get_job_history())] == [1, 1, 2, 1, 1, 1]


@pytest.mark.parametrize("arguments", [["1", "--all-failed"], ["1", "--source", "a"], ["1", "--days", "3"]])
def test_ids_and_filters_are_not_mixed(past: Queue, kbjobs: Kbjobs, arguments: list[str]) -> None:
    kbjobs("retry", *arguments, check=2)
    assert past.get(1).attempt == 1
