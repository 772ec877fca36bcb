"""``kbjobs discard``: jobs that nobody wants to resume."""

from __future__ import annotations

from kbjobs.store.queue import Queue
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "discard")


def test_a_discarded_job_cannot_be_resumed(past: Queue, kbjobs: Kbjobs) -> None:
    assert kbjobs("discard", "2").stderr == "Job 2 is discarded. What it has done is kept.\n"
    assert [job["id"] for job in read_json(kbjobs("interrupted", "--json"))] == [3]
    assert read_json(kbjobs("status", "2", "--json"))["status"] == "cancelled"
    assert "--discard" not in kbjobs("interrupted", "--help").stdout
    assert [job["id"] for job in read_json(kbjobs("interrupted", "--discard", "3", "--json"))] == [3]
    assert read_json(kbjobs("interrupted", "--json")) == []


def test_of_several_one_that_cannot_be_discarded_stops_none(past: Queue, kbjobs: Kbjobs) -> None:
    refused = kbjobs("discard", "1", "2", "99", check=5)
    assert "Job 2 is discarded" in refused.stderr and "there is no job 99" in refused.stderr
