"""What a person reads: numbers that are right, sentences that fit, nothing that misleads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs.chains.progress import Past, Progress
from kbjobs.cli import COMMANDS
from kbjobs.commands._ending import summary
from kbjobs.commands._errors import printable
from kbjobs.commands._render import job_row
from kbjobs.config.home import Home
from kbjobs.errors import ExitCode
from kbjobs.formatting import agreeing, counted, format_languages
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from tests.commands.conftest import OpenTerminal
from tests.conftest import Kbjobs, phase_state, read_json, wait_ended, write_pages

pytestmark = pytest.mark.usefixtures("test_types")


@pytest.fixture
def manager(home: Home, tmp_path: Path) -> Iterator[JobManager]:
    register(home, "a", [write_pages(tmp_path / "a", 1)])
    opened = JobManager(home)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("family \U0001f468\u200d\U0001f469\u200d\U0001f467", "family \U0001f468\u200d\U0001f469\u200d\U0001f467"),
        ("10\xa0km, soft\xadhyphen, mark\u200f", "10\xa0km, soft\xadhyphen, mark\u200f"),
        ("a\nb\tc\x1b[31m\x9b\x7f", "a\nb\\tc\\x1b[31m\\x9b\\x7f"),
        ("\u202etxt.exe\u202c \u2066x\u2069", "\\u202etxt.exe\\u202c \\u2066x\\u2069"),
        ("line\u2028break, half\udce9", "line\\u2028break, half\\udce9"),
    ],
)
def test_only_what_harms_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_languages_end_in_no_comma_and_none_is_silently_missing() -> None:
    counts = {"en": 1200, "de": 3, "": 2, "fr": 1}
    assert format_languages(counts) == "en 1,200, de 3, unknown 2, fr 1"
    assert format_languages({f"l{number}": 1 for number in range(11)}).endswith(", l7 1, 3 more")


@pytest.mark.parametrize(
    ("number", "output"), [(0, "0 documents"), (1, "1 document"), (2, "2 documents"), (1200, "1,200 documents")]
)
def test_plurals(number: int, output: str) -> None:
    assert counted(number, "document") == output


def test_verbs_agree() -> None:
    assert agreeing(1, "job", "waits", "wait") == "1 job waits"
    assert agreeing(3, "job", "waits", "wait") == "3 jobs wait"


def test_a_job_without_a_source_has_no_gap_in_its_title(manager: JobManager) -> None:
    import kbjobs_test_functions as functions

    job = wait_ended(manager, manager.submit("export", None, functions.answer))
    assert summary(job).startswith("job 1 export: completed in ")


def test_nothing_is_at_100_percent_before_its_end(manager: JobManager, kbjobs: Kbjobs) -> None:
    job = wait_ended(manager, manager.submit("steps", "a", count=1, fail=True))
    manager._state.opened().connection.execute("UPDATE jobs SET progress = 99.96 WHERE id = ?", (job.id,))
    assert "\t99%\t" in kbjobs("interrupted").stdout
    assert "99.9%" in kbjobs("status", job.id).stdout
    assert read_json(kbjobs("status", job.id, "--json"))["progress"] < 100
    assert "99%" in job_row(manager.get_status(job.id))


def test_the_next_step_stands_on_a_line_of_its_own(manager: JobManager, kbjobs: Kbjobs) -> None:
    import kbjobs_test_functions as functions

    job = wait_ended(manager, manager.submit("export", None, functions.returns_what_is_not_json))
    rows = dict(line.split("\t", 1) for line in kbjobs("status", job.id).stdout.splitlines())
    assert rows["message"].startswith("the function returned something that is not JSON")
    assert rows["next step"] == "Return a dict of texts, numbers and lists."


def test_a_folder_that_is_not_there(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    said = kbjobs("sources", "add", "new", tmp_path / "nowhere", check=4).stderr
    assert "nowhere cannot be reached" in said
    assert "this source" not in said and "removed" not in said


def test_a_search_for_what_is_no_text(manager: JobManager, kbjobs: Kbjobs) -> None:
    said = kbjobs("search", "a", os.fsdecode(b"caf\xe9"), check=2).stderr
    assert "the words are not valid UTF-8" in said


def test_files_that_are_passed_over_are_counted(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 2)
    (pages / "link.html").symlink_to("/etc/hostname")
    os.mkfifo(pages / "pipe.html")
    register(home, "docs", [pages])
    assert "2 documents (2 new" in (output := kbjobs("run", "metadata", "docs").stdout)
    assert "2 files skipped: links, pipes (see the log)" in output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_does_not_list_what_is_the_programs(kbjobs: Kbjobs, command: str) -> None:
    assert "--install-completion" not in kbjobs(command, "--help").stdout


def test_a_phase_that_took_no_time_tells_nothing_of_the_time_left() -> None:
    """The last run reused everything: this one may have all to do."""
    output: list[Any] = []
    now = 0.0
    progress = Progress([phase_state()], output.append, lambda steps: None, 0.0, {0: Past(0.0)}, lambda: now)
    progress.start(0)
    progress.report(0, 1000, "chunks", "embedding", (0.0, 1.0), True)
    assert [report.eta for report in output] == [None, None]


def test_only_what_runs_has_a_turning_spinner(manager: JobManager, terminal: OpenTerminal, tmp_path: Path) -> None:
    chain = tmp_path / "nightly.toml"
    phase = '[[phase]]\njob = "steps"\n'
    chain.write_text(
        f'source = "a"\n{phase}on_error = "continue"\nname = "breaks"\nparams = {{ fail = true, count = 0 }}\n'
        f'{phase}name = "works"\nparams = {{ count = 30, seconds = 0.05, number = 1 }}\n'
    )
    opened = terminal("chain", str(chain), columns=100)
    opened.read_until(r"failed \d")
    opened.read_until(r"works[^\n]*\d\d%")
    lines = [line for line in opened.text.replace("\r", "\n").splitlines() if re.search("breaks .* failed", line)]
    assert lines
    assert not [line for line in lines if line[0] in "-\\|/"]
    assert opened.end() == ExitCode.PARTIAL


def test_parameters_of_every_kind_can_be_given(manager: JobManager, kbjobs: Kbjobs) -> None:
    assert "Missing option '--where'" in kbjobs("run", "gather", "a", check=2).stderr
    options = [
        "--where",
        "here",
        "--numbers",
        "[1, 2]",
        "--window",
        '{"first": 3}',
        "--size",
        "7",
        "--pair",
        '[1, "b"]',
    ]
    job_id = kbjobs("run", "gather", "a", *options, "--detach").stdout.strip()
    params = read_json(kbjobs("status", job_id, "--json"))["params"]
    assert (params["numbers"], params["window"], params["size"]) == ([1, 2], {"first": 3, "last": 23}, 7)
    assert "--numbers is not JSON" in kbjobs("run", "gather", "a", "--where", "x", "--numbers", "[1", check=2).stderr
