"""Makes the pictures of the documents anew, of a real home: ``python docs/pictures.py`` (``make pictures``).

The home has two books in HTML and what a night does to them: chains, a worker that was killed, a job that failed, one
that waits for the evening. The pages are taken by Debian's Chromium, light and dark, the terminal as SVG.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.daemon.launching import stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Job

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCS = Path(__file__).resolve().parent
CACHE = DOCS.parent / ".cache"
KBJOBS = str(Path(sys.executable).with_name("kbjobs"))
CHROMIUM = "/usr/bin/chromium"
PAGES = 400  # of the first book
SIZE = (1280, 800)
SCHEMES = ("light", "dark")
VIEWS = {
    "jobs": "/jobs", "job": "/jobs/{night}", "builder": "/builder", "sources": "/sources", "source": "/sources/python",
    "search": "/search?words=open+a+file&source=python", "history": "/history",
}  # fmt: skip
SHORT_PATHS = """() => document.querySelectorAll(".list.small li").forEach(
    (one) => { one.textContent = one.textContent.replace(/^.*\\/([^/]+)$/, "~/$1"); })"""
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
        pages = Path(top, "python")
        pages.mkdir()
        for page in sorted((CACHE / "python-docs").rglob("*.html"))[:PAGES]:
            shutil.copyfile(page, pages / page.name)
        try:
            run("sources", "add", "python", str(pages), "--name", "Python documentation")
            run("sources", "add", "handbook", str(CACHE / "handbook" / "en-US"), "--name", "Debian handbook")
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
    """Run what a night runs, and kill a worker in the middle; the id of the chain that it belonged to."""
    run("run", "metadata", "handbook")
    run("run", "index-offline", "handbook", "--limit", "60")
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
    run("run", "index-offline", "handbook", "--detach")
    return night


def wait_for(manager: JobManager, job_id: int, condition: Callable[[Job], bool]) -> Job:
    """The job when it is as ``condition`` wants it."""
    for _ in range(36_000):
        job = manager.get_status(job_id)
        if condition(job):
            return job
        time.sleep(0.1)
    sys.exit(f"job {job_id} is not as it should be")


@contextmanager
def builder() -> Iterator[str]:
    """The address of a running builder, with its token."""
    with subprocess.Popen([KBJOBS, "builder"], stdout=subprocess.PIPE, text=True) as process:
        told = iter(process.stdout or ())
        found = next(filter(None, (re.search(r"http://\S+token=\S+", line) for line in told)))
        try:
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)


def take_pages(night: int) -> None:
    """The pictures of the pages and of the map."""
    from playwright.sync_api import sync_playwright

    with builder() as address, sync_playwright() as playwright:
        flags = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        base = address.partition("/?")[0]
        for scheme in SCHEMES:
            context = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme=scheme)  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(address)
            for name, path in VIEWS.items():
                page.goto(base + path.format(night=night))
                if name == "builder":
                    compose(page)
                page.evaluate("document.querySelector('.place').textContent = '~/kb'")
                page.evaluate(SHORT_PATHS)
                page.wait_for_timeout(500)  # the log and the times are written by scripts
                page.screenshot(path=DOCS / "builder" / f"builder-{name}-{scheme}.png")
            page.goto(f"{base}/maps/python")
            page.wait_for_timeout(4_000)  # its first turn
            page.screenshot(path=DOCS / f"map-{scheme}.png")
            context.close()
        browser.close()


def compose(page: Page) -> None:
    """Open the chain of the night, with one phase chosen."""
    page.wait_for_selector("body[data-ready]")
    page.locator("[data-open=nightly]").click()
    page.locator("#phases li:nth-child(2) .pick").click()
    page.locator("#forecast").click()
    page.locator("#outlook table").wait_for()


def show(*words: str, columns: int = 80) -> str:
    """What a command shows on a terminal, with its colours."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "30"}
    with subprocess.Popen([KBJOBS, *words], stdout=theirs, stderr=theirs, env=environment) as process:
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
        job = int(run("run", "index-offline", "python", "--detach").split()[0])
        begun = wait_for(manager, job, lambda one: one.progress > 35)
        parts = [
            (
                "kbjobs run index-offline python --detach",
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
        parts.append(("kbjobs sources verify python", show("sources", "verify", "python")))
    draw_terminal("kill.svg", *parts, columns=110)


def first_lines(text: str, count: int) -> str:
    """The beginning of a text."""
    return "\n".join(text.splitlines()[:count])


def main() -> None:
    """Take all pictures."""
    for needed in (CACHE / "python-docs", CACHE / "handbook" / "en-US", Path(CHROMIUM)):
        if not needed.exists():
            sys.exit(
                f"{needed} is not there: sh tests/real/fetch_inputs.sh, bench/bench_extract.py, apt install chromium"
            )
    with real_home() as home:
        take_kill()
        night = have_a_night(home)
        draw_terminal("terminal.svg", ("kbjobs status", show("status")))
        take_pages(night)


if __name__ == "__main__":
    main()
