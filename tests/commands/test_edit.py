"""``kbjobs edit``: a job that waits is changed; one that runs is not."""

from __future__ import annotations

from datetime import datetime

import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Status
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json, wait_until


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "edit")


def test_an_empty_home(home: Home, kbjobs: Kbjobs) -> None:
    assert "there is no job 1" in kbjobs("edit", "1", "--priority", "1", check=4).stderr
    assert not home.state_file.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "there is nothing to change"),
        (["--priority", "99999999999999999999"], "--priority"),
        (["--retries", "101"], "--retries"),
        (["--until", "noon"], "'noon' is not a time"),
        (["--until", "2020-01-01 00:00"], "has passed"),
        (["--not-before", "2100-01-02", "--until", "2100-01-01"], "is before --not-before 2100-01-02"),
    ],
)
def test_bad_arguments_change_nothing(past: Queue, kbjobs: Kbjobs, options: list[str], words: str) -> None:
    before = past.get(5)
    assert words in kbjobs("edit", "5", *options, check=2).stderr
    assert past.get(5) == before


def test_each_is_changed_and_cleared(past: Queue, kbjobs: Kbjobs) -> None:
    output = kbjobs("edit", "5", "--priority", "-3", "--retries", "4", "--not-before", "2100-01-01 22:00")
    assert output.stderr == "job 5 waits with priority -3, --not-before 2100-01-01 22:00, --until none, --retries 4.\n"
    # The end is read after the beginning that the job has.
    assert "--until 2100-01-02 06:00," in kbjobs("edit", "5", "--until", "06:00").stderr
    job = past.get(5)
    assert job.until == datetime(2100, 1, 2, 6).astimezone().timestamp()
    assert "before it may start" in kbjobs("edit", "5", "--not-before", "2100-01-03", check=2).stderr
    changed = read_json(kbjobs("edit", "5", "--not-before", "none", "--until", "NONE", "--json"))
    assert (changed["not_before"], changed["until"], changed["priority"]) == (None, None, -3)
    assert "--not-before is" not in kbjobs("edit", "5", "--until", "+1h").stderr


def test_a_job_that_waits_for_its_moment_begins_when_that_is_cleared(home: Home, source: str, kbjobs: Kbjobs) -> None:
    kbjobs("run", "steps", source, "--count", "600", "--seconds", "0.05", "--not-before", "+9h", "--detach")
    kbjobs("edit", "1", "--not-before", "none")
    wait_until(lambda: JobManager(home).get_status(1).status is Status.RUNNING, 10)  # the daemon is woken
    refused = kbjobs("edit", "1", "--priority", "5", check=5)
    assert "job 1 is running" in refused.stderr and "kbjobs cancel 1, then kbjobs resume 1" in refused.stderr


def test_a_job_that_has_ended(past: Queue, kbjobs: Kbjobs) -> None:
    assert "kbjobs resume 2 goes on with it" in kbjobs("edit", "2", "--until", "+1h", check=5).stderr
