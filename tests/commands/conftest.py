"""Sources to run jobs on, jobs that have been, and a terminal to run commands in."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ExitCode
from kbjobs.services.sources import register
from kbjobs.store.jobs import NewJob
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.transitions import Event
from tests.conftest import Kbjobs, phase_state, write_pages

SLOW_PAGES = 80
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


@pytest.fixture
def small(home: Home, tmp_path: Path) -> str:
    """A source that is indexed at once."""
    register(home, "small", [write_pages(tmp_path / "small", 3)])
    return "small"


@pytest.fixture
def slow(home: Home, tmp_path: Path) -> str:
    """A source that takes some seconds to index: every page is as long as a passage can be."""
    register(home, "slow", [write_pages(tmp_path / "slow", SLOW_PAGES, "Water boils, the kettle sings " * 40)])
    return "slow"


@pytest.fixture
def source(home: Home, tmp_path: Path, test_types: None) -> str:
    """A source for jobs of the type steps, which need no model."""
    register(home, "a", [write_pages(tmp_path / "a", 1)])
    return "a"


# Exit codes of the jobs that ended, by their sources; the last job waits.
PAST: dict[str, ExitCode] = {
    "done": ExitCode.DONE,
    "broken": ExitCode.FAILED,
    "late": ExitCode.TIME_LIMIT,
    "stopped": ExitCode.CANCELLED,
}
EVENTS = (Event.COMPLETE, Event.FAIL, Event.EXPIRE, Event.CANCEL)


@pytest.fixture
def past(home: Home) -> Iterator[Queue]:
    """The state of a home whose daemon is gone: jobs 1 to 4 have ended as PAST says, job 5 waits, on source "later"."""
    home.prepare()
    queue = Queue(home.state_file)
    for event, (name, code) in zip(EVENTS, PAST.items(), strict=True):
        put_job(queue, name)
        job = queue.claim(f"run of {name}")
        assert job is not None
        home.log_file(job.id, 1).write_text(f"the log of {name}\n")
        error = "the source is broken\nMend it." if event is Event.FAIL else None
        reason = "time_limit" if event is Event.EXPIRE else None
        queue.finish(job.id, f"run of {name}", RunOutcome(event, code, f"it is {name}", error, reason), {"steps": 3})
    put_job(queue, "later")
    yield queue
    queue.close()


def put_job(queue: Queue, source: str) -> int:
    """Queue a job of the type steps; returns its id."""
    return queue.submit(NewJob("steps", source, {}, (phase_state("steps", "steps"),), (f"source:{source}",))).id


def check_help(kbjobs: Kbjobs, *command: str) -> None:
    """The command's help is on stdout, and holds an example of it."""
    shown = kbjobs(*command, "--help")
    assert shown.stderr == ""
    assert f"kbjobs {' '.join(command)}" in " ".join(re.split("Examples?:", shown.stdout, maxsplit=1)[1].split())


class Terminal:
    """A command in a terminal of its own, of 80 columns unless told."""

    def __init__(
        self, arguments: tuple[str, ...], columns: int, stdout: IO[str] | None, stderr: IO[str] | None
    ) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kbjobs", *arguments],
            stdin=slave,
            stdout=stdout or slave,
            stderr=stderr or slave,
            env=dict(os.environ),  # readline, which pytest loads, sets COLUMNS behind Python's back
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    @property
    def text(self) -> str:
        """What was shown so far, without escape sequences."""
        return ESCAPE.sub("", self.output)

    def read(self, seconds: float = 0.1) -> bool:
        """Take what is shown within the time; False once the terminal is done with."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            part = os.read(self.master, 65536)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self.output += part.decode(errors="replace")
        return bool(part)

    def read_until(self, pattern: str, seconds: float = 60) -> str:
        """Read until the text shows the pattern, and return what matched."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, self.text
            assert self.read(), f"it ended before it showed {pattern!r}: {self.text}"
        return found[0]

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self, seconds: float = 60) -> int:
        """Read to the end, and return the exit code."""
        deadline = time.monotonic() + seconds
        while self.read():
            assert time.monotonic() < deadline, self.text
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def terminal(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenTerminal]:
    """Opens commands in terminals; those that are left at the end are closed."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    opened: list[Terminal] = []

    def run(
        *arguments: object, columns: int = 80, stdout: IO[str] | None = None, stderr: IO[str] | None = None
    ) -> Terminal:
        opened.append(Terminal(tuple(map(str, arguments)), columns, stdout, stderr))
        return opened[-1]

    yield run
    for one in opened:
        one.close()
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
