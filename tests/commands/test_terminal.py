"""Commands on a terminal: what is drawn, what Ctrl-C does, and what happens when the terminal is gone."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.store.transitions import Status
from tests.commands.conftest import OpenTerminal
from tests.conftest import Kbjobs, rest_full, wait_until
from tests.tools.screen import Screen

pytestmark = pytest.mark.usefixtures("minilm")

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def completed(home: Home, job_id: int = 1) -> bool:
    return JobManager(home).get_status(job_id).status is Status.COMPLETED


@pytest.mark.parametrize("columns", rest_full([60, 80, 132], 60))
def test_bars_show_type_source_percentage_rate_and_time_left(slow: str, terminal: OpenTerminal, columns: int) -> None:
    shown = terminal("run", "index-offline", slow, columns=columns)
    shown.read_until(r"embedding: \d+/[\d,]+ passages · [\d,.]+/s · [\d.]+s left +\(job 1\)")
    assert shown.end() == 0
    lines = [line for line in shown.text.splitlines() if line.strip()]
    assert re.fullmatch(r"✓ index-offline slow +job 1, \S+", lines[-3])
    assert re.fullmatch(r"  documents +80   80 new", lines[-2])
    assert re.fullmatch(r"  passages +[\d,]+   [\d,]+ embedded.*", lines[-1])
    assert "\x1b[?25h" in shown.output  # the cursor is back
    drawn = [line for line in re.split(r"[\r\n]+", shown.text) if re.search(r"index-offline slow [━╸ ]+\d+%$", line)]
    assert {len(line) for line in drawn} == {columns}  # the bar takes the room there is
    assert not Screen(columns).write(shown.output).wrapped
    assert not re.search(r"100%", "".join(drawn[:-2]))


def test_ctrl_c_detaches_and_the_job_goes_on(home: Home, slow: str, terminal: OpenTerminal) -> None:
    shown = terminal("run", "index-offline", slow)
    shown.read_until(r"· [\d,.]+/s")
    shown.type(b"\x03")
    assert shown.end() == 130
    assert "kbjobs watch 1 shows it" in " ".join(shown.text.split())
    assert "kbjobs cancel 1 stops it" in " ".join(shown.text.split())
    assert "Traceback" not in shown.text
    assert "\x1b[?25h" in shown.output
    assert not JobManager(home).get_status(1).has_ended
    wait_until(lambda: completed(home), 60)


def test_ctrl_c_leaves_watch_and_watch_of_an_ended_job_gives_its_code(
    home: Home, slow: str, terminal: OpenTerminal, kbjobs: Kbjobs
) -> None:
    kbjobs("run", "index-offline", slow, "--detach")
    shown = terminal("watch", "1")
    shown.read_until(r"\d+%")
    shown.type(b"\x03")
    assert shown.end() == 130
    assert "The job keeps running" in shown.text
    job = JobManager(home).get_status(1)
    assert (job.has_ended, job.cancel_requested) == (False, False)
    kbjobs("cancel", "1")
    kbjobs("wait", "1", check=9)
    again = terminal("watch", "1")
    assert again.end(5) == 9
    assert "cancelled" in again.text


def test_a_dumb_terminal_gets_no_escapes(small: str, terminal: OpenTerminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    for arguments, words in (
        (("run", "index-offline", small, "--progress", "bar"), "job 1: started"),
        (("status",), "completed"),
        (("sources", "show", small), "documents"),
    ):
        shown = terminal(*arguments)
        assert shown.end() == 0
        assert "\x1b" not in shown.output
        assert words in shown.output


def test_no_color_gives_no_colours(small: str, terminal: OpenTerminal, monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = terminal("run", "index-offline", small)
    assert coloured.end() == 0
    assert COLOUR.search(coloured.output)  # else this test shows nothing
    monkeypatch.setenv("NO_COLOR", "1")
    for arguments in (("run", "index-offline", small), ("history",), ("status", "1"), ("sources", "list")):
        shown = terminal(*arguments)
        assert shown.end() == 0
        assert not COLOUR.search(shown.output)
    assert "small" in shown.text


def test_tables_have_headers_on_a_terminal_and_none_off_it(small: str, terminal: OpenTerminal, kbjobs: Kbjobs) -> None:
    kbjobs("run", "index-offline", small, "--quiet")
    shown = terminal("history", columns=200)
    assert shown.end() == 0
    assert re.search(r"ID\s+JOB\s+SOURCE\s+STATE\s+%\s+TIME\s+AGE\s+NOTE", shown.text)
    fields = kbjobs("history").stdout.rstrip("\n").split("\t")
    assert fields[:5] == ["1", "index-offline", "small", "completed", "100%"]
    named = kbjobs("history", "--header").stdout.splitlines()
    assert named[0].split("\t") == ["job", "type", "source", "status", "done", "time", "created", "note"]
    assert len(named) == 2


def test_the_summary_can_be_redirected_while_the_bars_are_watched(
    slow: str, tmp_path: Path, terminal: OpenTerminal
) -> None:
    with (tmp_path / "out").open("w") as out:
        shown = terminal("run", "index-offline", slow, stdout=out)
        shown.read_until(r"· [\d,.]+/s")
        assert shown.end() == 0
    assert (tmp_path / "out").read_text().startswith("job 1 index-offline slow: completed in")
    assert "completed" not in shown.text


def test_messages_in_a_file_are_plain_lines_though_stdout_is_a_terminal(
    small: str, tmp_path: Path, terminal: OpenTerminal
) -> None:
    with (tmp_path / "err").open("w") as err:
        shown = terminal("run", "index-offline", small, stderr=err)
        assert shown.end() == 0
    assert "job 1: started\n" in (tmp_path / "err").read_text()
    assert "\x1b" not in (tmp_path / "err").read_text() + shown.output


@contextmanager
def hangup(action: signal.Handlers) -> Iterator[None]:
    """What SIGHUP does to processes that are started in the block: they inherit it, as from nohup."""
    old = signal.signal(signal.SIGHUP, action)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, old)


def test_a_vanished_terminal_does_not_hurt_the_job(home: Home, slow: str, terminal: OpenTerminal) -> None:
    with hangup(signal.SIG_DFL):
        shown = terminal("run", "index-offline", slow)
    shown.read_until(r"· [\d,.]+/s")
    shown.close()
    assert shown.process.wait(20) in (-signal.SIGHUP, 130)
    wait_until(lambda: completed(home), 60)
    assert JobManager(home).get_status(1).attempt == 1


@pytest.mark.full
def test_a_vanished_terminal_under_nohup(home: Home, slow: str, terminal: OpenTerminal) -> None:
    """The follower outlives its terminal, cannot write any more, and the job does not mind."""
    with hangup(signal.SIG_IGN):
        shown = terminal("run", "index-offline", slow)
    shown.read_until(r"· [\d,.]+/s")
    shown.close()
    shown.process.wait(60)
    wait_until(lambda: completed(home), 60)
