"""Following a job off a terminal: plain lines for people, JSON lines for programs, exit codes for scripts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kbjobs.commands._following import ProgressMode, follow
from kbjobs.config.home import Home
from kbjobs.services.job_events import JobEvent
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Job, RunningPhase
from kbjobs.store.transitions import Status
from tests.conftest import Kbjobs, known, read_json, wait_until

pytestmark = pytest.mark.usefixtures("minilm")

# Programs rely on these: fields are only ever added.
JOB_FIELDS = {
    "id", "type", "source", "status", "progress", "phase", "phases", "message", "eta_seconds", "attempt", "priority",
    "params", "created_at", "started_at", "finished_at", "duration_seconds", "dimension", "operation", "exit_code",
    "result", "error",
}  # fmt: skip
INDEX_RESULT = {"documents", "chunks", "embedded", "reused", "deleted", "failed", "model", "dimension"}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kbjobs", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.processes
def test_off_a_terminal_there_are_plain_lines_and_one_summary(small: str, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "index-offline", small)
    output = ended.stderr.splitlines()
    # Its worker may have begun before the first look.
    assert re.fullmatch("job 1: index-offline small is (queued|running)", output[0])
    assert "job 1: started" in output
    assert "job 1: phase index-offline" in output
    assert len(output) <= 4
    assert re.fullmatch(
        r"job 1 index-offline small: completed in \S+: 3 documents \(3 new, .*3 embedded, 0 reused\n", ended.stdout
    )
    assert not CONTROL.search(ended.stderr + ended.stdout)


@pytest.mark.parametrize("mode", ["bar", "plain", "auto"])
def test_no_mode_writes_control_characters_off_a_terminal(
    small: str, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    ended = kbjobs("run", "index-offline", small, "--progress", mode)
    assert not CONTROL.search(ended.stderr + ended.stdout)
    assert "job 1: started" in ended.stderr


def test_quiet_is_silent_on_success_and_tells_failures(small: str, tmp_path: Path, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "index-offline", small, "--quiet")
    assert (ended.stdout, ended.stderr) == ("", "")
    (tmp_path / "small" / "empty.html").touch()
    partial = kbjobs("run", "index-offline", small, "--quiet", check=3)
    assert "1 could not be processed" in partial.stdout
    assert partial.stderr == ""


@pytest.mark.processes
def test_json_is_a_stream_that_ends_with_finished(small: str, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "index-offline", small, "--json")
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.stderr == ""
    assert [event["event"] for event in events][:1] == ["queued"]
    assert {event["event"] for event in events} >= {"queued", "started", "phase", "finished"}
    assert [number for number, event in enumerate(events) if event["event"] == "finished"] == [len(events) - 1]
    for event in events:
        assert set(event) == {"event", "job"}
        assert set(event["job"]) >= JOB_FIELDS
        if event["event"] != "finished":
            assert event["job"]["progress"] < 100
    last = events[-1]["job"]
    assert (last["status"], last["exit_code"], last["progress"], last["error"]) == ("completed", 0, 100, None)
    assert set(last["result"]) >= INDEX_RESULT
    assert last["phases"][0]["status"] == "completed"
    assert last["params"]["model"] == last["result"]["model"]
    for name in ("created_at", "started_at", "finished_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", last[name])


def test_detach_prints_the_id_alone(small: str, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "index-offline", small, "--detach")
    assert ended.stdout == "1\n"
    assert "kbjobs watch 1" in ended.stderr
    assert "kbjobs cancel 1" in ended.stderr
    kbjobs("wait", "1", "--quiet")
    line = kbjobs("run", "index-offline", small, "--detach", "--json").stdout
    assert line.count("\n") == 1
    event = json.loads(line)
    assert (event["event"], event["job"]["id"], event["job"]["status"]) == ("queued", 2, "pending")


def test_json_of_what_is_asked(small: str, kbjobs: Kbjobs) -> None:
    empty = read_json(kbjobs("status", "--json"))
    assert (empty["daemon"]["running"], empty["jobs"]) == (False, [])
    assert read_json(kbjobs("history", "--json")) == []
    kbjobs("run", "index-offline", small, "--quiet")
    status = read_json(kbjobs("status", "--json"))
    assert set(status) >= {"daemon", "jobs"}
    assert status["daemon"]["running"] is True
    one = read_json(kbjobs("status", "1", "--json"))
    assert set(one) >= JOB_FIELDS
    assert one.pop("worker_is_dead") is False
    assert status["jobs"][0].pop("worker_is_dead") is False
    assert status["jobs"] == [one] == read_json(kbjobs("history", "--json"))
    assert read_json(kbjobs("history", "--json", "--status", "failed")) == []
    assert read_json(kbjobs("history", "--json", "--type", "index-offline", "--source", small)) == [one]
    types = {kind["name"]: kind for kind in read_json(kbjobs("types", "--json"))}
    assert types["index_offline"]["label"] == "Index (Offline)"
    assert set(one["params"]) == set(types["index_offline"]["parameters"])


def test_run_gives_the_code_of_the_job(small: str, tmp_path: Path, kbjobs: Kbjobs) -> None:
    (tmp_path / "small" / "empty.html").touch()
    ended = kbjobs("run", "index-offline", small, check=3)
    assert "1 could not be processed" in ended.stdout
    assert kbjobs("watch", "1", check=3).stdout == ended.stdout
    assert kbjobs("wait", "1", check=3).stdout == ended.stdout
    kbjobs("wait", "1", "99", check=4)


def test_a_cancel_from_elsewhere_ends_the_follower_with_9(home: Home, slow: str, kbjobs: Kbjobs) -> None:
    follower = start("run", "index-offline", slow)
    wait_until(lambda: [job for job in JobManager(home).get_active_jobs() if job.status is Status.RUNNING])
    kbjobs("cancel", "1")
    out, output = follower.communicate(timeout=60)
    assert follower.returncode == 9
    assert out == ""
    assert "cancelled" in output
    assert "kbjobs resume 1" in output


def test_an_interrupt_detaches_and_the_job_goes_on(home: Home, slow: str, kbjobs: Kbjobs) -> None:
    follower = start("run", "index-offline", slow, start_new_session=True)
    wait_until(lambda: [job for job in JobManager(home).get_active_jobs() if job.status is Status.RUNNING])
    os.killpg(follower.pid, signal.SIGINT)
    _, output = follower.communicate(timeout=30)
    assert follower.returncode == 130
    assert "kbjobs watch 1" in output
    assert "kbjobs cancel 1" in output
    assert "Traceback" not in output
    assert not JobManager(home).get_status(1).has_ended
    assert "completed" in kbjobs("wait", "1").stdout


# -- the rule of one line a minute, with a clock of our own -----------------------------------------


class Script:
    """Stands in for the manager: gives events, and moves the clock before each."""

    def __init__(self, events: Sequence[tuple[float, JobEvent]]) -> None:
        self.events, self.time = events, 1000.0

    def get_status(self, job_id: int) -> Job:
        return next(event.job for _, event in self.events if event.job.id == job_id)

    def follow(self, job_ids: Sequence[int], revive: bool, seconds: float) -> Iterator[JobEvent]:
        begin = self.time
        for moment, event in self.events:
            self.time = begin + moment
            yield event


@pytest.fixture
def job(home: Home, small: str) -> Job:
    manager = JobManager(home)
    job = manager.get_status(manager.submit("index_offline", small))
    phase = RunningPhase(0, "index_offline", 5, 9, "chunks", 12.0)
    return replace(job, status=Status.RUNNING, attempt=1, phase=phase, message="embedding", eta=61.0, progress=99.9)


def test_progress_is_told_at_most_once_a_minute(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [(0.0, JobEvent("started", job)), (0.0, JobEvent("phase", job))]
    events += [(tenth / 10, JobEvent("progress", job)) for tenth in range(1, 3000)]
    ended = replace(job, status=Status.COMPLETED, exit_code=0, message="all good", duration=300.0)
    script: Any = Script([*events, (300.0, JobEvent("finished", ended))])
    monkeypatch.setattr(time, "monotonic", lambda: script.time)
    assert follow(script, [job.id], ProgressMode.PLAIN, revive=False) == 0
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert lines[:2] == ["job 1: started", "job 1: phase index-offline"]
    assert lines[2:] == ["job 1: 99% embedding: 5/9 chunks, 12/s, 1m 01s left"] * 4
    assert shown.out == "job 1 index-offline small: completed in 5m 00s: all good\n"


def test_a_retry_is_told(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    waits = replace(job, status=Status.PENDING, message="goes on after: killed")
    again = replace(job, attempt=2)
    ended = replace(again, status=Status.FAILED, exit_code=1, error="broken\nMend it.")
    script: Any = Script(
        [(0, JobEvent("retry", waits)), (1, JobEvent("started", again)), (2, JobEvent("finished", ended))]
    )
    assert follow(script, [1], ProgressMode.PLAIN, revive=False) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "job 1: back in the queue, goes on after: killed" in shown.err
    assert "job 1: attempt 2 started" in shown.err
    assert "failed in 0.0s after 2 attempts: broken\nMend it." in shown.err


@pytest.mark.processes
def test_a_follower_revives_a_daemon_that_died(home: Home, slow: str) -> None:
    follower = start("run", "index-offline", slow)
    manager = JobManager(home)
    job: Job = wait_until(lambda: next((job for job in manager.get_active_jobs() if job.pid), None))
    assert job.pid is not None
    os.kill(known(manager.get_daemon().pid), signal.SIGKILL)
    os.kill(job.pid, signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: manager.get_status(1).attempt == 2)
    assert time.monotonic() - killed < 5
    out, output = follower.communicate(timeout=60)
    assert follower.returncode == 0, output
    assert "attempt 2 started" in output
    assert "after 2 attempts" in out
