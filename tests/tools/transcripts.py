"""Runs the transcripts of a page of the documentation and compares what is printed with what the page shows.

A page's ```` ```console ```` blocks are typed into a shell, one command after the other, on a terminal of 80 columns.
A line that begins with ``$ `` is a command, one that begins with ``> `` continues it, the others are what is printed.
In what is printed, ``…`` stands for anything. Times, sizes, rates, ids of processes and cosines may differ. A block in
another language whose introduction ends with a name in backticks and a colon is written to that file first.
A ``text`` block after "prints:" is what the last command prints, where that looks like commands itself.

With ``KBJOBS_WRITE_TRANSCRIPTS=1`` the output that differs is written into the page.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.tools.screen import Screen

COLUMNS = 80
WIDE = 2000  # what a program writes as one line is one line of the page
WRITES = bool(os.environ.get("KBJOBS_WRITE_TRANSCRIPTS"))
ROOT = Path(__file__).resolve().parents[2]
SHOWN_HOME = "/home/ada"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([^`\s]+)`:\s*\Z")
SHELL = """\
set -a
. "$STATE/environment"; cd "$(cat "$STATE/folder")"
command=$(cat "$STATE/command"); code=$(cat "$STATE/code")
(exit "$code")
eval "$command"
code=$?
export -p > "$STATE/environment"; pwd > "$STATE/folder"; echo $code > "$STATE/code"
"""
# What may differ from run to run, and what stands for it while texts are compared.
VARIABLE = {
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?Z?|\d{4}-\d\d-\d\d": "DATE",
    r"\b\d\d:\d\d(:\d\d)?\b": "CLOCK",
    r"\b[\d,.]+/s\b": "RATE",
    r"\b(\d+h )?(\d+m )?\d+(\.\d+)?(ms|s)\b|\b\d+[hm]\b": "TIME",
    r"\b[\d,.]+ [kMGT]?B\b": "SIZE",
    r"cosine \d\.\d+|\b0\.\d{3,}\b": "COSINE",
    r"\b[0-9a-f]{12,64}\b": "HASH",
    r'"version": "[^"]+"': "VERSION",
    r"\bpid\"?:? \d+": "PID",
    r"(kbjobs-demo-|kbjobs-)[a-z0-9_]{8}\b": "FOLDER",
    r"127\.0\.0\.1:\d+": "ADDRESS",
    r"token=[\w-]+…?": "TOKEN",
    r"[━╸╺]+": "BAR",
}


@dataclass(frozen=True)
class Step:
    """A command of a page with what the page shows of its output, or a file to be written."""

    command: str
    shown: str
    place: tuple[int, int] = (0, 0)
    file: str = ""


def read_steps(text: str) -> list[Step]:
    """What is to be done to follow a page, in its order."""
    steps: list[Step] = []
    for block in FENCE.finditer(text):
        if block[1] == "text" and steps and re.search(r"\bprints:\s+\Z", text[: block.start()]):
            steps[-1] = Step(steps[-1].command, block[2], block.span(2))
            continue
        if block[1] != "console":
            if named := FILE.search(text[: block.start()]):
                steps.append(Step("", block[2], file=named[1]))
            continue
        starts = [found.start() for found in re.finditer(r"^\$ ", block[2], re.MULTILINE)]
        for start, end in zip(starts, [*starts[1:], len(block[2])], strict=True):
            found = re.match(r"\$ (.*\n(?:> .*\n)*)", block[2][start:end])
            assert found is not None
            begin = block.start(2) + start + found.end()
            command = re.sub(r"^> ", "", found[1], flags=re.MULTILINE).rstrip("\n")
            shown = block[2][start + found.end() : end]
            steps.append(Step(command, shown.strip("\n"), (begin, block.start(2) + end)))
    return steps


@dataclass
class Session:
    """A shell in a home folder of its own; ``names`` are addresses of the page, with those that answer here."""

    user: Path
    environment: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""

    def __post_init__(self) -> None:
        """Begin in the folder of the user, with the environment of the session alone."""
        self._state = Path(tempfile.mkdtemp(prefix="kbjobs-shell-"))
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.environment.items())
        (self._state / "environment").write_text(exports)
        (self._state / "folder").write_text(str(self.user / self.folder))
        (self._state / "code").write_text("0")

    def run(self, command: str, seconds: float = 150) -> str:
        """Run a command on a terminal and return what the screen shows at its end."""
        (self._state / "command").write_text(self._here(command))
        controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        process = subprocess.Popen(
            ["/bin/bash", "-c", SHELL],
            env={**self.environment, "STATE": str(self._state)},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        output = _read(controller, process, seconds)
        os.close(controller)
        lines = Screen(WIDE).write(output.decode()).lines
        return self._shown("\n".join(lines).strip("\n"))

    def write(self, name: str, text: str) -> None:
        """Write a file of the page into the folder of the shell."""
        path = Path((self._state / "folder").read_text().strip(), name.replace("~", str(self.user)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here(text))
        if text.startswith("#!"):
            path.chmod(0o755)

    def _here(self, text: str) -> str:
        for name, address in self.names.items():
            text = text.replace(name, address)
        return text.replace(SHOWN_HOME, str(self.user))

    def _shown(self, text: str) -> str:
        text = text.replace(str(self.user), SHOWN_HOME).replace(str(ROOT), f"{SHOWN_HOME}/kbjobs")
        for name, address in self.names.items():
            text = text.replace(address, name)
        return text


def is_shown(shown: str, printed: str) -> bool:
    """Whether what was printed is what the page shows, but for what may differ."""
    pattern = re.sub(r"(\\ )?…(\\ )?", " ?.*? ?", re.escape(_fixed(shown)))
    return re.fullmatch(pattern, _fixed(printed), re.DOTALL) is not None


def follow(page: Path, session: Session) -> list[str]:
    """Follow the page and return what differs; with ``KBJOBS_WRITE_TRANSCRIPTS`` write it into the page instead."""
    text = page.read_text()
    differences, changes = [], []
    for step in read_steps(text):
        if step.file:
            session.write(step.file, step.shown)
            continue
        printed = session.run(step.command)
        if is_shown(step.shown, printed):
            continue
        differences.append(f"$ {step.command}\n-- shown\n{step.shown}\n-- printed\n{printed}\n")
        changes.append((step.place, printed))
    if WRITES and changes:
        for (start, end), printed in reversed(changes):
            gap = "" if text[end : end + 3] == "```" else "\n"
            text = text[:start] + (printed + "\n" if printed else "") + gap + text[end:]
        page.write_text(text)
        return []
    return differences


def _read(controller: int, process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """Read what the process prints until it has ended, whoever else still holds the terminal."""
    output, end = bytearray(), time.monotonic() + seconds
    while True:
        has_ended = process.poll() is not None
        if select.select([controller], [], [], 0 if has_ended else 0.1)[0]:
            try:
                output += os.read(controller, 65536)
                continue
            except OSError:
                has_ended = process.wait(seconds) is not None
        if has_ended:
            return bytes(output)
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
            raise TimeoutError(f"no end after {seconds} s: {output.decode(errors='replace')}")


def _fixed(text: str) -> str:
    for pattern, name in VARIABLE.items():
        text = re.sub(pattern, name, text)
    return " ".join(text.split())
