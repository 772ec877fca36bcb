"""``kbjobs status``: all jobs, and one."""

from __future__ import annotations

import re

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.services.jobs import JobManager
from kbjobs.store.queue import Queue
from tests.commands.conftest import OpenTerminal, check_help
from tests.conftest import Kbjobs, read_json, wait_until


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "status")


def test_an_empty_home(home: Home, kbjobs: Kbjobs) -> None:
    shown = kbjobs("status")
    assert shown.stdout == ""
    assert shown.stderr == (
        "No daemon is running.\nNo jobs yet. Start with kbjobs sources add ID PATH, or try kbjobs demo.\n"
    )
    output = read_json(kbjobs("status", "--json"))
    assert (output["daemon"]["running"], output["jobs"]) == (False, [])
    assert {dimension for dimension, one in output["dimensions"].items() if not one["busy"]} == {
        "384", "768", "1024", "1536"
    }  # fmt: skip
    assert not home.state_file.exists()


def test_live_jobs_come_before_ended_ones(past: Queue, home: Home, kbjobs: Kbjobs) -> None:
    shown = kbjobs("status")
    assert shown.stderr == "No daemon is running; submit, resume and wait start one.\n"
    assert [line.split("\t")[0] for line in shown.stdout.splitlines()] == ["5", "4", "3", "2", "1"]
    assert [job["id"] for job in read_json(kbjobs("status", "--json"))["jobs"]] == [5, 4, 3, 2, 1]
    assert not is_running(home)


def test_everything_about_one_job(past: Queue, kbjobs: Kbjobs) -> None:
    shown = kbjobs("status", "2")
    fields = dict(line.split("\t", 1) for line in shown.stdout.splitlines())
    assert fields["job"] == "2  steps broken"
    assert fields["status"] == "failed, exit code 1"
    assert (fields["message"], fields["next step"]) == ("the source is broken", "Mend it.")
    assert fields["result"] == "steps 3"
    assert re.fullmatch(r"\S+Z – \S+Z: fail \(the source is broken\)", fields["attempt 1"])
    assert shown.stderr == "kbjobs logs 2 shows its log.\n"
    job = read_json(kbjobs("status", "2", "--json"))
    assert (job["id"], job["status"], job["error"]) == (2, "failed", "the source is broken\nMend it.")
    assert kbjobs("status", "5").stderr == ""  # it has no log yet


def test_a_running_job_and_its_daemon(home: Home, source: str, kbjobs: Kbjobs) -> None:
    manager = JobManager(home)
    job_id = manager.submit("steps", source, count=600, seconds=0.05)
    wait_until(lambda: (phase := manager.get_status(job_id).phase) and phase.current)
    shown = kbjobs("status")
    assert re.match(r"Daemon \d+ runs, kbjobs \S+, started \S+ ago\.", shown.stderr)
    assert shown.stdout.startswith("1\tsteps\ta\trunning\t")
    assert re.search(r"^progress\t\d\.\d%  working: \d+/600 steps", kbjobs("status", "1").stdout, re.MULTILINE)
    output = read_json(kbjobs("status", "--json"))
    assert output["dimensions"]["384"] == {"busy": True, "job": 1, "source": "a", "operation": "step"}


def test_watching_is_what_watch_does(past: Queue, home: Home, kbjobs: Kbjobs) -> None:
    for arguments in (["1"], ["2"], ["3", "--json"]):
        watched, shown = kbjobs("watch", *arguments, check=None), kbjobs("status", "--watch", *arguments, check=None)
        assert (shown.returncode, shown.stdout, shown.stderr) == (watched.returncode, watched.stdout, watched.stderr)
    kbjobs("cancel", "5")
    assert kbjobs("status", "--watch").stderr == "No job is running or waiting.\n"
    assert not is_running(home)


@pytest.mark.parametrize(("job", "code"), [("99", 4), ("x", 2)])
def test_an_unknown_job(past: Queue, kbjobs: Kbjobs, job: str, code: int) -> None:
    refused = kbjobs("status", job, check=code)
    assert refused.stdout == ""
    assert ("there is no job 99" in refused.stderr) == (code == 4)


def test_a_damaged_state(home: Home, kbjobs: Kbjobs) -> None:
    home.state_file.write_bytes(b"garbage " * 2000)
    assert "state.db is damaged" in kbjobs("status", "--json", check=7).stderr


NIGHT = "not before 2099-01-31 22:00, until 2099-02-01 06:00"


@pytest.mark.processes
def test_the_moments_of_a_job_that_waits_are_told_wherever_it_is(
    past: Queue, kbjobs: Kbjobs, terminal: OpenTerminal
) -> None:
    kbjobs("edit", "5", "--not-before", "2099-01-31 22:00", "--until", "2099-02-01 06:00")
    assert kbjobs("status").stdout.splitlines()[0].endswith(f"\t{NIGHT}")
    assert f"limits\t{NIGHT}\n" in kbjobs("status", "5").stdout
    assert f"limits\t{NIGHT}\n" not in kbjobs("status", "4").stdout
    assert f"job 5: steps later is queued, {NIGHT}\n" in kbjobs("wait", "5", "--timeout", "0.1s", check=8).stderr
    watching = terminal("watch", "5", columns=120)
    watching.read_until(NIGHT)
    watching.type(b"\x03")
    kbjobs("pause")
    assert kbjobs("status").stdout.splitlines()[0].endswith(f"\twaits for kbjobs unpause, {NIGHT}")
