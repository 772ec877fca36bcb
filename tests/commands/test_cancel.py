"""``kbjobs cancel``: one job, those of a source, all; and what it says of each."""

from __future__ import annotations

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.services.jobs import JobManager
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Status
from tests.commands.conftest import check_help, put_job
from tests.conftest import Kbjobs, read_json, wait_until


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "cancel")


def test_an_empty_home(kbjobs: Kbjobs) -> None:
    shown = kbjobs("cancel", "--all")
    assert (shown.stdout, shown.stderr) == ("", "No job is running or waiting.\n")
    assert read_json(kbjobs("cancel", "--all", "--json")) == []
    assert "there is no job 1" in kbjobs("cancel", "1", check=4).stderr


def test_a_job_that_waits_is_cancelled_without_a_daemon(past: Queue, home: Home, kbjobs: Kbjobs) -> None:
    shown = kbjobs("cancel", "5")
    assert (shown.stdout, shown.stderr) == ("", "job 5 is cancelled.\n")
    job = past.get(5)
    assert (job.status, job.exit_code) == (Status.CANCELLED, 9)
    assert not is_running(home)


def test_a_running_job_stops_at_its_next_checkpoint(home: Home, source: str, kbjobs: Kbjobs) -> None:
    manager = JobManager(home)
    job_id = manager.submit("steps", source, count=600, seconds=0.05)
    wait_until(lambda: manager.get_status(job_id).phase)
    assert "job 1 will stop at its next checkpoint; kbjobs wait 1" in kbjobs("cancel", "1").stderr
    assert "cancelled; what was done is kept" in kbjobs("wait", "1", check=9).stderr


def test_those_of_a_source_and_all(past: Queue, kbjobs: Kbjobs) -> None:
    for _ in range(2):
        put_job(past, f"more{_}")
    [cancelled] = read_json(kbjobs("cancel", "--source", "more1", "--json"))
    assert (cancelled["source"], cancelled["status"]) == ("more1", "cancelled")
    assert kbjobs("cancel", "--source", "done").stderr == "No job is running or waiting.\n"
    assert [job["source"] for job in read_json(kbjobs("cancel", "--all", "--json"))] == ["later", "more0"]


def test_one_that_cannot_be_cancelled_does_not_stop_the_others(past: Queue, kbjobs: Kbjobs) -> None:
    refused = kbjobs("cancel", "1", "99", "5", check=5)
    assert "job 1 has already ended" in refused.stderr
    assert "there is no job 99" in refused.stderr
    assert "job 5 is cancelled." in refused.stderr
    assert past.get(1).status is Status.COMPLETED


@pytest.mark.parametrize(
    ("name", "hint"), [("nonsense", "kbjobs sources list shows them."), ("laters", "Did you mean later?")]
)
def test_a_source_that_names_nothing(past: Queue, kbjobs: Kbjobs, name: str, hint: str) -> None:
    refused = kbjobs("cancel", "--source", name, check=4)
    assert f"there is no source {name!r}" in refused.stderr and hint in refused.stderr
    assert past.get(5).status is Status.PENDING


@pytest.mark.parametrize("arguments", [[], ["5", "--all"], ["5", "--source", "later"], ["five"]])
def test_what_is_to_be_cancelled_is_said_once(past: Queue, kbjobs: Kbjobs, arguments: list[str]) -> None:
    kbjobs("cancel", *arguments, check=2)
    assert past.get(5).status is Status.PENDING
