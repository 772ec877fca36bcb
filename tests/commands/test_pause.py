"""``kbjobs pause``: nothing begins any more; with --running what runs stops at a checkpoint."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Status
from tests.commands.conftest import OpenTerminal, check_help
from tests.conftest import Kbjobs, read_json, wait_until, write_pages


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "pause")


def test_an_empty_home_can_be_paused_before_the_first_job(home: Home, source: str, kbjobs: Kbjobs) -> None:
    assert kbjobs("pause").stderr == "The queue is paused; what is submitted waits for kbjobs unpause.\n"
    again = kbjobs("pause")
    assert again.stderr.startswith("The queue is paused already, since 20")
    assert not is_running(home)
    queued = kbjobs("run", "steps", source, "--count", "0", "--detach")
    assert queued.stdout == "1\n"
    assert "job 1: the queue is paused, it waits for kbjobs unpause" in queued.stderr
    assert kbjobs("run", "steps", source, "--number", "2", "--count", "0", "--detach", "--quiet").stderr == ""
    assert is_running(home)


def test_bad_arguments(home: Home, kbjobs: Kbjobs, source: str) -> None:
    assert "there is no source 'b'" in kbjobs("pause", "--source", "b", check=4).stderr
    kbjobs("pause", "--source", "../b", check=2)
    kbjobs("pause", source, check=2)
    assert not home.state_file.exists()


def test_json(past: Queue, kbjobs: Kbjobs) -> None:
    output = read_json(kbjobs("pause", "--source", "later", "--json"))
    assert output["pause"]["source"] == "later" and output["pause"]["since"].startswith("20")
    assert (output["new"], output["waiting"], output["running"], output["stopping"]) == (True, [5], [], [])
    assert read_json(kbjobs("pause", "--source", "later", "--json"))["new"] is False


def test_it_is_shown_by_status_and_doctor(past: Queue, kbjobs: Kbjobs) -> None:
    kbjobs("pause")
    kbjobs("pause", "--source", "later")
    shown = kbjobs("status")
    assert (
        "The queue has been paused since 20" in shown.stderr and "Source later has been paused since 20" in shown.stderr
    )
    assert "5\tsteps\tlater\tpending\t\t—\twaits for kbjobs unpause" in shown.stdout.splitlines()
    assert [one["source"] for one in read_json(kbjobs("status", "--json"))["pauses"]] == [None, "later"]
    assert "pending, the queue is paused: it waits for kbjobs unpause" in kbjobs("status", "5").stdout
    findings = read_json(kbjobs("doctor", "--json", check=None))["findings"]
    output = [(one["level"], one["remedy"]) for one in findings if one["check"] == "pause"]
    assert output == [("note", "kbjobs unpause"), ("note", "kbjobs unpause --source later")]


def test_running_stops_what_runs_at_a_checkpoint(home: Home, source: str, kbjobs: Kbjobs) -> None:
    manager = JobManager(home)
    job_id = manager.submit("steps", source, count=600, seconds=0.05)
    wait_until(lambda: manager.get_status(job_id).saved)
    assert "1 job runs will finish; kbjobs pause --running stops running jobs." in kbjobs("pause").stderr
    output = kbjobs("pause", "--running")
    assert "1 job is asked to stop at the next checkpoint: 1; kbjobs status shows it." in output.stderr
    waits = wait_until(lambda: (job := manager.get_status(job_id)).status is Status.PENDING and job)
    assert waits.message == "paused; what was done is kept"
    kbjobs("unpause")
    wait_until(lambda: (job := manager.get_status(job_id)).status is Status.RUNNING and job.saved > waits.saved)
    assert [one.outcome for one in manager.get_attempts(job_id)] == ["requeue", None]


@pytest.mark.processes
def test_without_a_daemon_a_worker_stops_by_itself(home: Home, source: str, kbjobs: Kbjobs) -> None:
    manager = JobManager(home)
    job_id = manager.submit("steps", source, count=600, seconds=0.05)
    wait_until(lambda: manager.get_status(job_id).saved)
    os.kill(manager.get_daemon().pid or 0, signal.SIGKILL)
    wait_until(lambda: not is_running(home))
    assert kbjobs("pause", "--source", source, "--running").returncode == 0
    wait_until(lambda: manager.get_status(job_id).status is Status.PENDING)


def test_a_follower_says_for_what_it_waits(source: str, kbjobs: Kbjobs, terminal: OpenTerminal) -> None:
    kbjobs("pause", "--source", source)
    followed = terminal("run", "steps", source, "--count", "1")
    followed.read_until("source a is paused, it waits for")
    kbjobs("unpause", "--source", source)
    assert followed.end() == 0
    assert "✓ steps a" in followed.text


def test_a_stream_tells_what_holds_a_job(source: str, kbjobs: Kbjobs) -> None:
    kbjobs("pause")
    kbjobs("run", "steps", source, "--count", "1", "--detach")
    shown = kbjobs("wait", "1", "--json", "--timeout", "1s", check=8)
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [event["event"] for event in events] == ["queued", "held"]
    assert events[1]["pause"]["source"] is None


@pytest.mark.parametrize("command", [["resume", "2", "--detach"], ["retry", "1", "--detach"]])
@pytest.mark.usefixtures("past", "test_types")
def test_what_is_put_back_in_the_queue_waits_too(
    home: Home, kbjobs: Kbjobs, command: list[str], tmp_path: Path
) -> None:
    for name in ("done", "broken"):
        register(home, name, [write_pages(tmp_path / name, 1)])
    kbjobs("pause")
    assert "the queue is paused, it waits for kbjobs unpause" in kbjobs(*command).stderr
