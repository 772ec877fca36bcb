"""``kbjobs interrupted``: what can be resumed. Jobs whose worker is dead are in tests/daemon/test_dead_jobs.py."""

from __future__ import annotations

from kbjobs.config.home import Home
from kbjobs.store.queue import Queue
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "interrupted")


def test_an_empty_home(home: Home, kbjobs: Kbjobs) -> None:
    shown = kbjobs("interrupted")
    assert (shown.stdout, shown.stderr) == ("", "Nothing to resume.\n")
    assert read_json(kbjobs("interrupted", "--json")) == []
    assert not home.state_file.exists()


def test_what_failed_or_was_interrupted_is_listed(past: Queue, kbjobs: Kbjobs) -> None:
    """Not what the user cancelled: that is no accident."""
    shown = kbjobs("interrupted")
    rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert [row[:4] for row in rows] == [["2", "steps", "broken", "failed"], ["3", "steps", "late", "interrupted"]]
    assert [(row[5], row[6], row[7]) for row in rows] == [
        ("0%", "steps", "the source is broken"),
        ("0%", "steps", "it is late"),
    ]
    assert "kbjobs resume JOB resumes one" in shown.stderr
    listed = read_json(kbjobs("interrupted", "--json"))
    assert [(job["id"], job["exit_code"], job["worker_is_dead"]) for job in listed] == [(2, 1, False), (3, 8, False)]
