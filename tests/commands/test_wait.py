"""``kbjobs wait``: until all have ended, with the worst of their codes."""

from __future__ import annotations

import json

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.services.jobs import JobManager
from kbjobs.store.queue import Queue
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "wait")


def test_an_empty_home_and_an_unknown_job(home: Home, kbjobs: Kbjobs) -> None:
    assert "there is no job 1" in kbjobs("wait", "1", check=4).stderr
    kbjobs("wait", check=2)
    assert not home.state_file.exists() and not is_running(home)


def test_it_starts_the_daemon_that_a_waiting_job_needs(home: Home, source: str, kbjobs: Kbjobs) -> None:
    kbjobs("run", "steps", source, "--count", "60", "--seconds", "0.05", "--detach")
    kbjobs("daemon", "stop")
    assert read_json(kbjobs("status", "1", "--json"))["status"] == "pending"
    shown = kbjobs("wait", "1")
    assert "job 1 steps a: completed in" in shown.stdout
    assert is_running(home)


def test_the_worst_code(past: Queue, kbjobs: Kbjobs) -> None:
    """A failure is worse than a time limit, that than a cancel, and that than a few unreadable documents."""
    assert kbjobs("wait", "1", "1").stdout.count("completed") == 1
    kbjobs("wait", "1", "4", check=9)
    kbjobs("wait", "4", "3", check=8)
    kbjobs("wait", "2", "3", check=1)
    past.connection.execute("UPDATE jobs SET exit_code = 3 WHERE id = 1")
    kbjobs("wait", "1", check=3)
    kbjobs("wait", "1", "4", check=9)
    assert "there is no job 99" in kbjobs("wait", "1", "99", check=4).stderr


def test_quiet_and_json(past: Queue, kbjobs: Kbjobs) -> None:
    quiet = kbjobs("wait", "1", "2", "--quiet", check=1)
    assert (quiet.stdout, "the source is broken" in quiet.stderr) == ("", True)
    shown = kbjobs("wait", "1", "2", "3", "--json", check=1)
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(event["event"], event["job"]["id"]) for event in events] == [
        ("finished", 1), ("finished", 2), ("finished", 3)
    ]  # fmt: skip
    assert shown.stderr == ""


def test_a_time_limit_of_the_waiting_is_none_of_the_job(home: Home, source: str, kbjobs: Kbjobs) -> None:
    kbjobs("run", "steps", source, "--count", "600", "--seconds", "0.05", "--detach")
    waited = kbjobs("wait", "1", "--timeout", "1s", check=8)
    assert (
        "Error: after 1.0s 1 job has not ended: 1\n" in waited.stderr and "kbjobs wait 1 waits again" in waited.stderr
    )
    assert waited.stdout == ""
    assert not JobManager(home).get_status(1).has_ended
    shown = kbjobs("wait", "1", "--timeout", "0.5s", "--json", check=8)
    assert {json.loads(line)["event"] for line in shown.stdout.splitlines()} <= {
        "queued",
        "started",
        "phase",
        "progress",
    }
    assert "'soon' is not a duration" in kbjobs("wait", "1", "--timeout", "soon", check=2).stderr


def test_what_ends_in_time_has_its_own_code(past: Queue, kbjobs: Kbjobs) -> None:
    kbjobs("wait", "1", "2", "--timeout", "1h", check=1)
