"""What a user copies from the documents works: cron lines, commands with their options, messages that are quoted."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from kbjobs.cli import app
from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running, stop_daemon
from kbjobs.errors import ExitCode
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event, Status
from tests.conftest import MODEL, ROOT, Kbjobs, wait_until, write_pages

README = "\n".join(path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))))
TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text()
EXAMPLE_TYPE = "longest"  # of the package in docs/howto/job-type.md, which tests/phases/test_other_package.py installs
CRON_LINE = re.compile(r"^\s+(?:[\d*/,-]+\s+){5}(?P<command>\S.*)$", re.MULTILINE)
CRON_LINES = [found["command"] for found in CRON_LINE.finditer(README)]


# -- cron --------------------------------------------------------------------------------------------


def home_of(user: Path) -> Home:
    """Where platformdirs puts it, without XDG_DATA_HOME."""
    return Home(user / ".local" / "share" / "kbjobs")


def interrupt_job(home: Home) -> None:
    """A job on the source wiki has reached its time limit."""
    manager = JobManager(home)
    chain = manager.find_chain("index_offline", {"model": MODEL})
    with Queue(home.state_file) as queue:
        job = queue.submit(manager.plan(chain, "wiki").job)
        queue.claim("the run")
        end = RunOutcome(Event.EXPIRE, ExitCode.TIME_LIMIT, "time limit reached", reason="time_limit")
        queue.finish(job.id, "the run", end)


@pytest.fixture
def user(tmp_path: Path, engines: Path) -> Iterator[Path]:
    """The home folder of a user with kbjobs in ~/kbjobs, and the source wiki in the home that cron's jobs find."""
    folder = tmp_path / "user"
    program = folder / "kbjobs" / ".venv" / "bin" / "kbjobs"
    program.parent.mkdir(parents=True)
    program.symlink_to(Path(sys.executable).with_name("kbjobs"))
    home = home_of(folder)
    home.prepare()
    home.engines.symlink_to(engines)
    (home.path / "config.toml").write_text(f'model = "{MODEL}"\n')
    (folder / "kbjobs" / "nightly.toml").write_text('[[phase]]\njob = "metadata"\n[[phase]]\njob = "index-offline"\n')
    register(home, "wiki", [write_pages(tmp_path / "pages", 3)])
    yield folder
    if is_running(home):
        stop_daemon(home, now=True, seconds=30)


def test_there_is_a_cron_line() -> None:
    assert CRON_LINES


@pytest.mark.parametrize("line", CRON_LINES)
@pytest.mark.usefixtures("minilm")
def test_a_cron_line_runs_as_cron_runs_it(user: Path, line: str) -> None:
    """With nothing in its environment but what cron sets; a percent sign would end the line there (crontab(5))."""
    assert "%" not in line
    home = home_of(user)
    if "resume" in line:
        interrupt_job(home)
    environment = (f"HOME={user}", "LOGNAME=user", "PATH=/usr/bin:/bin", "SHELL=/bin/sh")
    ended = subprocess.run(
        ["env", "-i", *environment, "/bin/sh", "-c", line],
        cwd=user,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")  # cron mails what is printed
    jobs = [] if " backup " in line else [(1, Status.COMPLETED)]
    assert [(job.id, job.status) for job in JobManager(home).get_job_history()] == jobs


# -- kills -------------------------------------------------------------------------------------------


def kill_lines(document: str) -> list[str]:
    """What is typed in a document to kill a worker, then the daemon with the next one."""
    lines = re.findall(r"^\$ (daemon=.*|p?kill -9 .*)$", (ROOT / document).read_text(), re.MULTILINE)
    assert [line.split()[0].partition("=")[0] for line in lines] == ["daemon", "pkill", "kill"]
    return lines


@pytest.mark.processes
@pytest.mark.usefixtures("test_types")
@pytest.mark.parametrize("document", ["docs/explanation/kills.md"])
def test_the_lines_that_kill_hit_one_home_alone(
    home: Home, kbjobs: Kbjobs, tmp_path: Path, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_daemon, kill_worker, kill_both = kill_lines(document)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    register(home, "a", [write_pages(tmp_path / "a", 1)])
    other = Home(tmp_path / "other")
    manager = JobManager(home)
    job = manager.submit("steps", "a", count=400, seconds=0.05)
    try:
        kbjobs("daemon", "start", env={**os.environ, "KBJOBS_HOME": str(other.path)})
        wait_until(lambda: manager.get_status(job).progress > 0)
        subprocess.run(["sh", "-c", f"{find_daemon}\n{kill_worker}"], check=True)
        wait_until(lambda: manager.get_status(job).attempt == 2 and manager.get_status(job).status is Status.RUNNING)
        assert is_running(home)
        subprocess.run(["sh", "-c", f"{find_daemon}\n{kill_both}"], check=True)
        wait_until(lambda: not is_running(home))
        assert "its worker is dead" in kbjobs("status").stdout
        assert is_running(other)
    finally:
        stop_daemon(other, now=True, seconds=30)


# -- commands ----------------------------------------------------------------------------------------


def shown_commands() -> list[str]:
    """Every ``kbjobs …`` that is typed in a console block, or stands in a block for a shell."""
    blocks = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        lines += [line for line in block.splitlines() if not line.startswith("#")]
    parts = [part.strip() for line in lines for part in re.split(r"&&|\|\||\||;", line)]
    of_example = f"kbjobs run {EXAMPLE_TYPE} "
    found = {part for part in parts if re.match(r"(?:\w+=\S+ )*kbjobs\b", part) and not part.startswith(of_example)}
    return sorted(found)


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the words that are left: its arguments and options."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        found = command.get_command(typer.Context(command), words[0])
        assert found is not None, f"there is no command {words[0]}"
        command, words = found, words[1:]
    return command, words


def test_there_are_commands() -> None:
    assert len(shown_commands()) > 15


@pytest.mark.parametrize("line", [*shown_commands(), *CRON_LINES])
def test_a_command_has_the_options_it_is_shown_with(line: str) -> None:
    line = re.sub(r"\s\d?[<>]+\s*\S+", "", line)
    words = [word for word in shlex.split(line, comments=True) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    command, rest = find_command(words[1:])
    options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts) if name[0] == "-"}
    arguments = []
    while rest:
        word = rest.pop(0)
        name, _, value = word.partition("=")
        if not word.startswith("-"):
            arguments.append(word)
            continue
        assert name in (*options, "--help", "-h"), f"{' '.join(words)}: no option {name}"
        if name in options and not options[name].is_flag and not value:
            assert rest, f"{name} needs a value"
            rest.pop(0)
    places = [one for one in command.params if one.param_type_name == "argument"]
    least = sum(one.required for one in places)
    most = None if any(one.nargs == -1 for one in places) else len(places)
    assert len(arguments) >= least and (most is None or len(arguments) <= most), line


# -- messages ----------------------------------------------------------------------------------------

FILLED = "…"  # what stands in a text of the program for what is filled in
FREE = re.compile(r"…|[A-Z][A-Z_]{2,}|\d[\d,.]*%?")  # words of a quotation that may be anything: names, figures


def read_texts(path: Path) -> Iterator[str]:
    """The texts of a module but its docstrings, with FILLED for what is filled in."""
    tree = ast.parse(path.read_text())
    passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed |= {id(part) for part in node.values}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
            yield node.value


@cache
def all_texts() -> list[list[str]]:
    return [text.split() for path in sorted((ROOT / "kbjobs").rglob("*.py")) for text in read_texts(path)]


@cache
def plain_texts() -> str:
    return "\n".join(f" {' '.join(text)} " for text in all_texts())


def fits(quoted: list[str], text: list[str]) -> bool:
    """Whether the quotation is the beginning of the text, as it may be filled in: with texts of the program."""
    if not quoted:
        return True
    if not text:
        return False
    if is_free(quoted[0]):
        return any(fits(quoted[1:], text[count:]) for count in range(len(text) + 1))
    if FILLED in text[0]:
        return any(can_be_filled_in(quoted[:count]) and fits(quoted[count:], text[1:]) for count in range(1, 5))
    return quoted[0].strip(".,:;") == text[0].strip(".,:;") and fits(quoted[1:], text[1:])


def is_free(word: str) -> bool:
    return FREE.fullmatch(word.strip(".,:;")) is not None


def can_be_filled_in(words: list[str]) -> bool:
    fixed = " ".join(word for word in words if not is_free(word))
    return not fixed or re.search(rf" {re.escape(fixed)}[ :]", plain_texts()) is not None


def is_of_the_program(message: str) -> bool:
    """Whether a text of the program reads so; one that is nearly all filled in proves nothing."""
    quoted = message.split()
    words = {word.strip(".,:;") for word in quoted} - {FILLED}
    return any(
        2 * len(words & {word.strip(".,:;") for word in text}) > len(words)
        and any(fits(quoted, text[start:]) for start in range(len(text)))
        for text in all_texts()
    )


def quoted_messages() -> list[str]:
    """The messages that docs/troubleshooting.md names below its headings."""
    lines = re.findall(r"^Message: (.+)$", TROUBLES, re.MULTILINE)
    return [quote for line in lines for quote in re.findall(r'"([^"]+)"', line)]


def test_there_are_quoted_messages() -> None:
    assert len(quoted_messages()) > 8


@pytest.mark.parametrize("message", quoted_messages())
def test_a_quoted_message_is_one_of_the_program(message: str) -> None:
    assert is_of_the_program(message)


@pytest.mark.parametrize(
    ("message", "is_one"),
    [
        ("the same job is already running", True),
        ("the same job is already somewhere", False),
        ("the model all-mpnet-base-v2 is not on this machine", True),
        ("all-mpnet-base-v2 is not here", False),
        ("the OpenAI API is busy", True),
        ("the OpenAI API is asleep", False),
        ("… of the … documents of … are gone, more than 20%", True),
        ("… of the … documents of … are left, more than 20%", False),
    ],
)
def test_quotations_are_told_from_what_nobody_says(message: str, is_one: bool) -> None:
    assert is_of_the_program(message) is is_one
