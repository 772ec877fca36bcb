"""``kbjobs run``: what it refuses before anything is queued, and what its options do. Following: test_following.py."""

from __future__ import annotations

import json
import re

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.services.jobs import JobManager
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs


def test_help(kbjobs: Kbjobs, test_types: None) -> None:
    check_help(kbjobs, "run")
    check_help(kbjobs, "run", "index-offline")
    check_help(kbjobs, "run", "generate-source")
    shown = kbjobs("run", "steps", "--help").stdout  # of another package's type, made from its parameters
    assert "--misbehave" in shown and "How many steps." in shown and "--until" in shown
    assert re.search(r"steps +Quick steps", kbjobs("run", "--help").stdout)


def test_what_is_no_word_is_given_as_json(test_types: None, source: str, kbjobs: Kbjobs) -> None:
    shown = kbjobs("run", "gather", "--help").stdout
    assert all(f"--{name} " in shown for name in ("where", "size", "mode", "share", "force", "window", "extra"))
    assert "--where" in kbjobs("run", "gather", source, check=2).stderr  # it has no default
    assert "completed" in kbjobs("run", "gather", source, "--where", "here", "--window", '{"first": 3}').stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["index-ofline", "a"], 2, "Did you mean index-offline?"),
        (["nonsense", "a"], 2, "kbjobs types lists them."),
        (["steps", "nowhere"], 4, "Register it with kbjobs sources add nowhere PATH"),
        (["steps", "../a"], 2, "not a valid source id"),
        (["steps", "a", "--count", "-1"], 2, "count"),
        (["steps", "a", "--nonsense"], 2, "--nonsense"),
        (["steps"], 2, "no source is named Name a source, or give --all-sources."),
        (["steps", "a", "--until", "noon"], 2, "noon"),
        (["index-online", "a"], 6, "kbjobs config set-secret OPENAI_API_KEY"),
        (["index-offline", "a", "--model", "bge-large-en-v1.5"], 6, "models download bge-large-en-v1.5"),
    ],
)
def test_a_refused_job_is_not_queued(
    home: Home, source: str, kbjobs: Kbjobs, arguments: list[str], code: int, words: str
) -> None:
    refused = kbjobs("run", *arguments, check=code)
    assert refused.stdout == ""
    assert words in " ".join(refused.stderr.split())
    assert not home.state_file.exists() and not is_running(home)


def test_it_is_followed_to_its_end(source: str, kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "steps", source, "--count", "3")
    assert ended.stdout.startswith("job 1 steps a: completed in ") and ended.stdout.endswith("s: 3 steps\n")
    assert "job 1: started" in ended.stderr.splitlines()


@pytest.mark.parametrize(("option", "code"), [("--fail", 1), ("--fail-documents=2", 3)])
def test_its_code_is_that_of_the_job(source: str, kbjobs: Kbjobs, option: str, code: int) -> None:
    last = kbjobs("run", "steps", source, "--count", "1", option, "--json", check=code).stdout.splitlines()[-1]
    assert json.loads(last)["job"]["exit_code"] == code


def test_the_limits_of_a_submit_are_those_of_the_job(home: Home, source: str, kbjobs: Kbjobs) -> None:
    options = ("--priority", "7", "--not-before", "+1h", "--timeout", "2h", "--retries", "3")
    assert kbjobs("run", "steps", source, *options, "--detach", "--quiet").stdout == "1\n"
    job = JobManager(home).get_status(1)
    assert (job.priority, job.timeout, job.retries, str(job.status)) == (7, 7200.0, 3, "pending")
    assert job.not_before is not None


def test_the_same_job_is_refused_or_skipped(home: Home, source: str, kbjobs: Kbjobs) -> None:
    same = ("run", "steps", source, "--count", "300", "--not-before", "+1h")
    kbjobs(*same, "--detach")
    refused = kbjobs(*same, check=5)
    assert "the same job is already pending: job 1" in refused.stderr
    assert "kbjobs watch 1" in refused.stderr
    skipped = kbjobs(*same, "--if-active", "skip")
    assert (skipped.stdout, "nothing was queued" in skipped.stderr) == ("", True)
    assert json.loads(kbjobs(*same, "--if-active", "skip", "--json").stdout)["event"] == "skipped"
    assert len(JobManager(home).get_job_history()) == 1


def test_a_damaged_state(home: Home, source: str, kbjobs: Kbjobs) -> None:
    home.state_file.write_bytes(b"garbage " * 2000)
    assert "state.db is damaged" in kbjobs("run", "steps", source, check=7).stderr
    assert home.state_file.read_bytes() == b"garbage " * 2000
