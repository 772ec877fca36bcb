"""Makes the pictures of the documents anew, of a real home: ``python -m docs.pictures`` (``make pictures``).

The home has two books in HTML and what a night does to them: chains, a worker that was killed, a job that failed, one
that waits for the evening. It is kept as it is while a job runs (tests/tools/pictures.py), and the pictures are taken
of what was kept: ``--same-home`` takes them again, after a change of the pages.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.daemon.launching import stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Job
from tests.tools.pictures import (
    CHROMIUM,
    DOCS,
    FAKETIME,
    keep_home,
    kept_picture,
    open_browser,
    open_kept_home,
    serve,
    shrink,
    stand_still,
    take_pictures,
)

CACHE = DOCS.parent / ".cache"
KBJOBS = str(Path(sys.executable).with_name("kbjobs"))
PAGES, PAGE_BYTES = 60, 40_000  # of a book: what is kept is small
MAP_PAGES, MAP_PAGE_BYTES = 400, 1_000_000  # of these the map alone is kept
NIGHT = """\
name = "nightly"
description = "Every night, what changed"
source = "python"

[[phase]]
job = "metadata"
weight = 10

[[phase]]
job = "index_offline"
weight = 80

[[phase]]
job = "visualisation"
weight = 10
"""


@contextmanager
def real_home() -> Iterator[Home]:
    """A home with two books, thrown away at the end."""
    with tempfile.TemporaryDirectory(prefix="kbjobs-pictures-") as top:
        folder = Path(top, "kb")
        os.environ[HOME_VARIABLE], os.environ["KBJOBS_MODEL"] = str(folder), "all-MiniLM-L6-v2"
        home = Home(folder)
        home.prepare()
        books = {"python": "python-docs", "library": "python-docs", "handbook": "handbook/en-US"}
        for name, book in books.items():
            Path(top, name).mkdir()
            count, largest = (MAP_PAGES, MAP_PAGE_BYTES) if name == "library" else (PAGES, PAGE_BYTES)
            pages = [page for page in sorted((CACHE / book).rglob("*.html")) if page.stat().st_size <= largest]
            for page in pages[:count]:
                shutil.copyfile(page, Path(top, name, page.name))
        try:
            run("sources", "add", "python", str(Path(top, "python")), "--name", "Python documentation")
            run("sources", "add", "handbook", str(Path(top, "handbook")), "--name", "Debian handbook")
            run("sources", "add", "library", str(Path(top, "library")), "--name", "Python library reference")
            yield home
        finally:
            stop_daemon(home, now=True, seconds=30)


def run(*words: str, code: int = 0) -> str:
    """What a command prints; it must end with ``code``."""
    ended = subprocess.run([KBJOBS, *words], capture_output=True, text=True, check=False)
    if ended.returncode != code:
        sys.exit(f"kbjobs {' '.join(words)} ended with {ended.returncode}:\n{ended.stderr}")
    return ended.stdout


def have_a_night(home: Home) -> int:
    """Run what a night runs, and kill a worker in the middle; the id of a job that still runs."""
    run("run", "index-offline", "library")
    run("run", "visualisation", "library")
    run("run", "metadata", "handbook")
    run("run", "index-offline", "handbook", "--limit", "20")
    run("run", "scrape", "blog", "--url", "http://127.0.0.1:9/", code=1)
    chains = home.path / "chains"
    chains.mkdir(exist_ok=True)
    (chains / "nightly.toml").write_text(NIGHT)
    night = int(run("chain", "nightly", "--detach").split()[0])
    with JobManager(home) as manager:
        pid = wait_for(manager, night, lambda one: one.progress > 30).pid
        if pid is None:
            sys.exit(f"job {night} ended too soon to be killed")
        os.kill(pid, signal.SIGKILL)
        wait_for(manager, night, lambda one: one.has_ended)
    run("run", "metadata", "handbook", "--not-before", "22:00", "--until", "06:00", "--detach")
    return int(run("run", "index-offline", "handbook", "--detach").split()[0])


def stop_all(home: Home, job_id: int) -> str:
    """End the daemon and its workers without a word, once a job has come on; the moment in UTC."""
    with JobManager(home) as manager:
        wait_for(manager, job_id, lambda one: one.phase is not None and one.progress > 20)
        pids = [job.pid for job in manager.get_overview().running] + [manager.get_daemon().pid]
        # A worker whose daemon is gone starts another.
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            for pid in filter(None, pids):
                os.kill(pid, sign)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())


def wait_for(manager: JobManager, job_id: int, condition: Callable[[Job], bool]) -> Job:
    """The job when it is as ``condition`` wants it."""
    for _ in range(36_000):
        job = manager.get_status(job_id)
        if condition(job):
            return job
        time.sleep(0.1)
    sys.exit(f"job {job_id} is not as it should be")


def show(*words: str, columns: int = 80, environment: Mapping[str, str] = os.environ) -> str:
    """What a command shows on a terminal, with its colours."""
    ours, theirs = pty.openpty()
    terminal = {**environment, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "30"}
    with subprocess.Popen([KBJOBS, *words], stdout=theirs, stderr=theirs, env=terminal) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65_536):
                shown += piece
        except OSError:  # the end of a terminal
            pass
        process.wait()
    os.close(ours)
    return shown.decode().replace("\r\n", "\n").strip("\n")


def draw_terminal(name: str, *parts: tuple[str, str], columns: int = 80) -> None:
    """A picture of commands and what each has shown, as SVG."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=columns, file=nowhere, force_terminal=True)
        for number, (command, shown) in enumerate(parts):
            console.print(Text(f"{chr(10) if number else ''}$ {command}", style="bold"))
            if shown:
                console.print(Text.from_ansi(shown))
        console.save_svg(str(DOCS / name), title="kbjobs")


def take_kill() -> None:
    """The recording of a worker that is killed in the middle of a job, which another one finishes."""
    with JobManager() as manager:
        job = int(run("run", "index-offline", "library", "--detach").split()[0])
        begun = wait_for(manager, job, lambda one: one.progress > 35)
        parts = [
            (
                "kbjobs run index-offline library --detach",
                f"{job}\nkbjobs watch {job} shows it, kbjobs cancel {job} stops it.",
            ),
            (f"kbjobs status {job} | head -3", first_lines(show("status", str(job)), 3)),
        ]
        if begun.pid is None:
            sys.exit(f"job {job} ended too soon to be killed")
        os.kill(begun.pid, signal.SIGKILL)
        parts.append((f"kill -9 {begun.pid}    # its worker", ""))
        wait_for(manager, job, lambda one: one.attempt == 2 and one.progress > 60)
        parts.append((f"kbjobs status {job} | head -3", first_lines(show("status", str(job)), 3)))
        wait_for(manager, job, lambda one: one.has_ended)
        ended = show("status", str(job), columns=110).splitlines()
        attempts = "\n".join(line for line in ended if re.match(r"(\x1b\[[\d;]*m)*(status|attempt)", line))
        parts.append((f"kbjobs wait {job}; kbjobs status {job} | grep -E '^(status|attempt)'", attempts))
        parts.append(("kbjobs sources verify python", show("sources", "verify", "library")))
    draw_terminal("kill.svg", *parts, columns=110)


def first_lines(text: str, count: int) -> str:
    """The beginning of a text."""
    return "\n".join(text.splitlines()[:count])


def main() -> None:
    """Take all pictures."""
    for needed in (CACHE / "python-docs", CACHE / "handbook" / "en-US", CHROMIUM, FAKETIME):
        if not needed.exists():
            sys.exit(f"{needed} is not there: sh tests/real/fetch_inputs.sh, bench/bench_extract.py")
    if "--same-home" not in sys.argv:
        with real_home() as home:
            take_kill()
            keep_home(home.path.parent, stop_all(home, have_a_night(home)))
    with tempfile.TemporaryDirectory() as top, open_kept_home(Path(top)) as kept:
        draw_terminal("terminal.svg", ("kbjobs status", show("status", environment=stand_still(kept))))
        with serve(kept) as address, open_browser(Path(top)) as browser:
            for name, png in take_pictures(browser, address, kept):
                kept_picture(name).write_bytes(shrink(png))


if __name__ == "__main__":
    main()
