"""``kbjobs resume``: ended jobs go on from what is saved. Dead workers are in tests/daemon/test_dead_jobs.py."""

from __future__ import annotations

import json

import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from tests.commands.conftest import PAST, check_help
from tests.conftest import Kbjobs, write_pages


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "resume")


def test_an_empty_home_and_an_unknown_job(home: Home, kbjobs: Kbjobs) -> None:
    shown = kbjobs("resume", "--all")
    assert (shown.stdout, shown.stderr) == ("", "Nothing to resume.\n")
    assert "there is no job 1" in kbjobs("resume", "1", check=4).stderr
    assert not home.state_file.exists()


@pytest.mark.parametrize("arguments", [[], ["1", "--all"], ["1", "--retries", "101"], ["--all", "--until", "25:00"]])
def test_bad_arguments(past: Queue, kbjobs: Kbjobs, arguments: list[str]) -> None:
    kbjobs("resume", *arguments, check=2)
    assert past.get(2).status is Status.FAILED


def test_a_failed_job_goes_on_once_its_source_is_mended(home: Home, source: str, kbjobs: Kbjobs) -> None:
    failed = kbjobs("run", "steps", source, "--count", "2", "--fail", check=1)
    assert "the source is broken\nMend it." in failed.stderr
    assert kbjobs("resume", "1", check=1).stdout == ""
    (SourceFolder(home.sources, source).path / "mended").touch()
    again = kbjobs("resume", "1", "--json")
    last = json.loads(again.stdout.splitlines()[-1])
    assert (last["event"], last["job"]["attempt"], last["job"]["exit_code"]) == ("finished", 3, 0)
    refused = kbjobs("resume", "1", check=5)
    assert "job 1 is completed" in refused.stderr


def test_all_are_those_that_failed_or_were_interrupted(
    past: Queue, home: Home, test_types: None, kbjobs: Kbjobs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name in PAST:
        register(home, name, [write_pages(tmp_path_factory.mktemp(name), 1)])
    register(home, "later", [write_pages(tmp_path_factory.mktemp("later"), 1)])
    output = kbjobs("resume", "--all", "--detach", "--timeout", "1h")
    assert (output.stdout, output.stderr) == ("", "queued: 2 3\n")
    kbjobs("wait", "2", "3", "--quiet")
    manager = JobManager(home)
    assert [manager.get_status(number).timeout for number in (2, 3)] == [3600.0, 3600.0]
    assert [manager.get_status(number).attempt for number in (1, 2, 3, 4)] == [1, 2, 2, 1]


def test_quiet_says_only_what_is_wrong_and_progress_is_that_of_run(home: Home, source: str, kbjobs: Kbjobs) -> None:
    for options in (["--quiet"], ["--quiet", "--progress", "plain"]):
        nothing = kbjobs("resume", "--all", *options)
        assert (nothing.stdout, nothing.stderr) == ("", "")
    kbjobs("run", "steps", source, "--count", "2", "--fail", "--quiet", check=1)
    broken = kbjobs("resume", "1", "--quiet", check=1)
    assert "the source is broken" in broken.stderr
    assert "started" not in broken.stderr
    assert "started" in kbjobs("resume", "1", "--progress", "plain", check=1).stderr
    assert '"event": "finished"' in kbjobs("resume", "1", "--progress", "json", check=1).stdout
    (SourceFolder(home.sources, source).path / "mended").touch()
    mended = kbjobs("resume", "--all", "--quiet")
    assert (mended.stdout, mended.stderr) == ("", "")


def test_of_two_failed_nights_the_newest_is_resumed(home: Home, source: str, kbjobs: Kbjobs) -> None:
    for _ in range(2):
        kbjobs("run", "steps", source, "--count", "2", "--fail", "--quiet", check=1)
    (SourceFolder(home.sources, source).path / "mended").touch()
    mended = kbjobs("resume", "--all", "--quiet")
    assert (mended.stdout, mended.stderr) == ("", "")
    assert [job.attempt for job in sorted(JobManager(home).get_job_history(), key=lambda job: job.id)] == [1, 2]
