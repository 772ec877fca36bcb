"""Streams that end early, are closed, are full, or know few characters: no traceback, and the right exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import SourceFields, register
from kbjobs.store.transitions import Status
from tests.conftest import Kbjobs, rest_full, wait_until, write_pages

pytestmark = pytest.mark.usefixtures("minilm")

KBJOBS = f"{sys.executable} -m kbjobs"


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bash in which a pipe's exit code is that of its last command to fail."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, timeout=90, check=False
    )


@pytest.mark.parametrize("reader", rest_full(["true", "head -1", "head -c 1"], "head -1"))
@pytest.mark.parametrize("command", ["sources list", "sources list --json", "types", "config show", "--help"])
def test_a_reader_that_has_enough_is_no_error(home: Home, tmp_path: Path, command: str, reader: str) -> None:
    pages = [write_pages(tmp_path / "pages", 1)]
    for number in range(400):  # more than a pipe holds
        register(home, f"s{number}", pages, SourceFields(name="a long name " * 20))
    ended = shell(f"{KBJOBS} {command} | {reader}")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_reader_that_leaves_does_not_change_the_code_of_the_job(small: str, tmp_path: Path) -> None:
    (tmp_path / "small" / "empty.html").touch()
    ended = shell(f"{KBJOBS} run index-offline {small} 2>/dev/null | true")
    assert (ended.returncode, ended.stderr) == (3, "")
    ended = shell(f"{KBJOBS} run index-offline {small} 2>&1 | head -1")
    assert ended.returncode == 3
    assert re.fullmatch("job 2: index-offline small is (queued|running)\n", ended.stdout)


@pytest.mark.full
def test_a_program_that_leaves_the_stream_detaches(home: Home, slow: str) -> None:
    ended = shell(f"{KBJOBS} run index-offline {slow} --json | head -1")
    assert ended.returncode == 130  # how the job ends is not known, so this is no success
    assert json.loads(ended.stdout)["event"] == "queued"
    assert "Traceback" not in ended.stderr
    wait_until(lambda: JobManager(home).get_status(1).status is Status.COMPLETED, 60)


@pytest.mark.parametrize("closed", rest_full([">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"], "<&- >&- 2>&-"))
def test_closed_streams_do_not_keep_a_job_from_running(home: Home, small: str, closed: str) -> None:
    ended = shell(f"{KBJOBS} run index-offline {small} --detach {closed}")
    assert (ended.returncode, ended.stderr if "2>" in closed else "") == (0, "")
    assert ended.stdout == ("" if ">&-" in closed.replace("2>&-", "") else "1\n")  # no message on stdout either
    wait_until(lambda: JobManager(home).get_status(1).status is Status.COMPLETED)


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_not_replaced_by_files_of_the_home(home: Home, tmp_path: Path, closed: str) -> None:
    """A file that is opened as descriptor 1 or 2 would be written into by whoever prints."""
    pages = write_pages(tmp_path / "pages", 1)
    assert shell(f"{KBJOBS} sources add x {pages} {closed}").returncode == 0
    code = (
        "import os, sys; sys.argv[1:] = ['--version']\n"
        "from kbjobs.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "first = os.open(sys.executable, os.O_RDONLY); sys.exit(0 if first > 2 else 1)"
    )
    assert shell(f'{sys.executable} -c "$CODE" {closed}'.replace("$CODE", code.replace('"', "'"))).returncode == 0


def test_a_full_disk_under_stdout_is_an_error(small: str) -> None:
    ended = shell(f"{KBJOBS} sources list > /dev/full")
    assert ended.returncode not in (0, 120)
    assert "No space left" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert shell(f"{KBJOBS} status 9 2> /dev/full").returncode == 4


def test_names_of_any_bytes_are_printed(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    pages = write_pages(tmp_path / os.fsdecode(b"caf\xe9 \xff"), 1)
    register(home, "odd", [pages])
    [shown] = json.loads(kbjobs("sources", "list", "--json").stdout)
    assert os.fsencode(shown["paths"][0]) == os.fsencode(pages)
    assert "odd" in kbjobs("sources", "list").stdout
    assert "caf" in kbjobs("sources", "show", "odd").stdout


def test_an_encoding_of_few_characters_is_no_error(
    home: Home, tmp_path: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(home, "x", [write_pages(tmp_path / "pages", 1)], SourceFields(name="Wörter und 水 🔥"))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    [shown] = json.loads(kbjobs("sources", "list", "--json").stdout)
    assert shown["name"] == "Wörter und 水 🔥"
    assert "und" in kbjobs("sources", "list").stdout


@pytest.mark.processes
def test_unexpected_errors_have_no_traceback_unless_asked(
    home: Home, kbjobs: Kbjobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking = tmp_path / "breaking"
    breaking.mkdir()
    (breaking / "sitecustomize.py").write_text(
        "import kbjobs.services.jobs\n"
        "def get_status(self, job_id): raise ZeroDivisionError('by \\x1b[31m nothing')\n"
        "kbjobs.services.jobs.JobManager.get_status = get_status\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{breaking}:{os.environ.get('PYTHONPATH', '')}")
    ended = kbjobs("status", "1", check=1)
    assert "Error: unexpected ZeroDivisionError: by" in ended.stderr
    assert "kbjobs --debug" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "\x1b" not in ended.stderr
    assert "Traceback" in kbjobs("--debug", "status", "1", check=1).stderr
