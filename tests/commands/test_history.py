"""``kbjobs history``: which jobs it lists, and that a typo in a filter is no empty list."""

from __future__ import annotations

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.store.queue import Queue
from tests.commands.conftest import PAST, check_help
from tests.conftest import Kbjobs, read_json


def ids(kbjobs: Kbjobs, *options: object) -> list[int]:
    return [job["id"] for job in read_json(kbjobs("history", "--json", *options))]


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "history")


def test_an_empty_home(home: Home, kbjobs: Kbjobs) -> None:
    shown = kbjobs("history")
    assert (shown.stdout, shown.stderr) == ("", "No matching jobs.\n")
    assert ids(kbjobs) == []
    assert not home.state_file.exists()


def test_jobs_are_listed_the_newest_first(past: Queue, home: Home, kbjobs: Kbjobs) -> None:
    rows = [line.split("\t") for line in kbjobs("history").stdout.splitlines()]
    assert [row[:4] for row in rows] == [
        ["5", "steps", "later", "pending"],
        ["4", "steps", "stopped", "cancelled"],
        ["3", "steps", "late", "interrupted"],
        ["2", "steps", "broken", "failed"],
        ["1", "steps", "done", "completed"],
    ]
    assert "it is done" in rows[-1][-1]
    listed = read_json(kbjobs("history", "--json"))
    assert [job["exit_code"] for job in listed] == [None, *reversed(PAST.values())]
    assert not is_running(home)  # looking starts nothing


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--limit", "2"], [5, 4]),
        (["--days", "1000", "--status", "failed"], [2]),
        (["--source", "late"], [3]),
        (["--source", "late", "--status", "failed"], []),
        (["--type", "steps", "--limit", "1"], [5]),
        (["--type", "index"], []),  # a name of former times, of which there was no job
    ],
)
def test_filters(past: Queue, kbjobs: Kbjobs, options: list[str], wanted: list[int]) -> None:
    assert ids(kbjobs, *options) == wanted


def test_old_jobs_are_left_out(past: Queue, kbjobs: Kbjobs) -> None:
    past.connection.execute("UPDATE jobs SET created_at = '2020-01-01T00:00:00Z' WHERE id = 1")
    assert ids(kbjobs) == [5, 4, 3, 2]
    assert ids(kbjobs, "--days", "30000") == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        (["--type", "nonsense"], "there is no job type 'nonsense'", "kbjobs types lists them."),
        (["--type", "index-ofline"], "there is no job type 'index-ofline'", "Did you mean index-offline?"),
        (["--type", "step"], "there is no job type 'step'", "Did you mean steps?"),
        (["--source", "nonsense"], "there is no source 'nonsense'", "kbjobs sources list shows them."),
        (["--source", "brokn"], "there is no source 'brokn'", "Did you mean broken?"),
    ],
)
def test_a_filter_that_names_nothing(past: Queue, kbjobs: Kbjobs, options: list[str], error: str, hint: str) -> None:
    refused = kbjobs("history", *options, check=4)
    assert refused.stdout == ""
    assert error in refused.stderr and hint in refused.stderr


@pytest.mark.parametrize("options", [["--limit", "0"], ["--days", "-1"], ["--status", "nonsense"]])
def test_bad_options(kbjobs: Kbjobs, options: list[str]) -> None:
    assert options[0] in kbjobs("history", *options, check=2).stderr


def test_a_damaged_state(home: Home, kbjobs: Kbjobs) -> None:
    home.state_file.write_bytes(b"garbage " * 2000)
    refused = kbjobs("history", check=7)
    assert "state.db is damaged" in refused.stderr
    assert home.state_file.read_bytes() == b"garbage " * 2000
