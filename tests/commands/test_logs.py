"""The log of a job: one per attempt, never overwritten, followed to the end of the job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.errors import ExitCode
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import NewJob
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json, wait_until


def follow_log(*arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "kbjobs", "logs", "-f", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


@pytest.mark.usefixtures("minilm")
def test_a_followed_log_ends_with_the_job_and_shows_everything(slow: str, kbjobs: Kbjobs) -> None:
    kbjobs("run", "index-offline", slow, "--detach")
    log = follow_log(1)
    out, output = log.communicate(timeout=60)
    assert (log.returncode, output) == (0, b"")
    assert out.decode() == kbjobs("logs", "1").stdout
    assert "phase index_offline begins" in out.decode()
    assert out.decode().splitlines()[-1].endswith(" 0 reused")
    assert kbjobs("logs", "1", "-f").stdout == out.decode()  # of an ended job: at once


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.usefixtures("minilm")
def test_a_followed_log_goes_on_with_the_next_attempt_and_none_is_overwritten(
    home: Home, slow: str, kbjobs: Kbjobs
) -> None:
    manager = JobManager(home)
    kbjobs("run", "index-offline", slow, "--detach")
    log = follow_log(1)
    assert log.stdout is not None
    shown = log.stdout.readline()
    os.kill(wait_until(lambda: manager.get_status(1).pid), signal.SIGKILL)
    wait_until(lambda: manager.get_status(1).attempt == 2)
    first = home.log_file(1, 1).read_bytes()
    out, _ = log.communicate(timeout=60)
    assert log.returncode == 0
    assert shown + out == first + home.log_file(1, 2).read_bytes()
    assert home.log_file(1, 1).read_bytes() == first
    assert kbjobs("logs", "1", "--attempt", "1").stdout == first.decode()
    assert kbjobs("logs", "1").stdout == home.log_file(1, 2).read_text()
    assert kbjobs("logs", "1", "-f", "--attempt", "1").stdout == first.decode()
    assert "2 attempt" in kbjobs("logs", "1", "--attempt", "3", check=4).stderr
    kbjobs("logs", "1", "--attempt", "0", check=2)


# -- a log written by hand ---------------------------------------------------------------------------


@pytest.fixture
def queue(home: Home) -> Queue:
    """The state, with one pending job and no daemon."""
    home.prepare()
    queue = Queue(home.state_file)
    queue.submit(NewJob("index_offline", "x", {}, (), ("source:x",)))
    return queue


def test_a_job_that_has_not_begun(queue: Queue, home: Home, kbjobs: Kbjobs) -> None:
    assert "not started" in kbjobs("logs", "1", check=4).stderr
    log = follow_log(1)
    assert log.stderr is not None
    assert b"No daemon is running" in log.stderr.readline()
    assert log.poll() is None
    log.send_signal(signal.SIGINT)
    log.communicate(timeout=10)
    assert log.returncode == 130
    assert not is_running(home)  # asking starts nothing


def test_a_log_is_shown_letter_by_letter_without_control_characters(queue: Queue, home: Home) -> None:
    queue.claim("run")
    log = follow_log(1)  # the job runs already, its log is not there yet
    assert log.stdout is not None
    with home.log_file(1, 1).open("wb", buffering=0) as file:
        file.write(b"first " + "水".encode()[:2])
        assert log.stdout.read(6) == b"first "
        file.write("水".encode()[2:] + b"\x1b[31m red \xff\n")
        assert log.stdout.readline().decode() == "水\\x1b[31m red \N{REPLACEMENT CHARACTER}\n"
        file.write("水".encode() * 100_000)
        queue.finish(1, "run", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
    out, _ = log.communicate(timeout=20)
    assert log.returncode == 0
    assert out.decode() == "水" * 100_000


def test_a_reader_that_leaves_ends_the_log(queue: Queue, home: Home) -> None:
    queue.claim("run")
    home.log_file(1, 1).write_text("line\n" * 50_000)
    queue.finish(1, "run", RunOutcome(Event.COMPLETE, ExitCode.DONE, "done"))
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m kbjobs logs 1 | head -1"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "line\n", "")


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "logs")


def test_an_empty_home_and_an_unknown_job(home: Home, kbjobs: Kbjobs) -> None:
    refused = kbjobs("logs", "1", check=4)
    assert (refused.stdout, "there is no job 1" in refused.stderr) == ("", True)
    assert not home.state_file.exists()


def test_json_has_the_text_of_an_attempt(queue: Queue, home: Home, kbjobs: Kbjobs) -> None:
    queue.claim("run")
    home.log_file(1, 1).write_text("begun\n")
    output = read_json(kbjobs("logs", "1", "--json"))
    assert output == {"job": 1, "attempt": 1, "path": str(home.log_file(1, 1)), "text": "begun\n"}
