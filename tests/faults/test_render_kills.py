"""Kills of a scrape that renders: of its worker, its browser, or both. No browser is left, and the crawl goes on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.scraping.rendering.browser_folder import name_browser_folder
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Job
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, wait_until
from tests.faults.test_crash_points import finish
from tests.faults.test_scrape_kills import WISHES
from tests.scraping.rendering.conftest import chromium, shell_site, text_of
from tests.scraping.test_scrape import files_of
from tests.servers.site_server import SiteServer

__all__ = ["chromium"]
pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("chromium")]
COUNT = 25
VICTIMS = ("worker", "browser", "driver", "both")


def find_processes(home: Home) -> dict[str, list[int]]:
    """The living processes of the home's browsers and of what drives them, by what they are."""
    found: dict[str, list[int]] = {"browser": [], "driver": []}
    mark = b"KBJOBS_HOME=" + os.fsencode(home.path)
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            is_browser = any(word.startswith(b"--kbjobs-mark=") for word in words)
            if b"run-driver" in words and mark in (entry / "environ").read_bytes().split(b"\0"):
                found["driver"].append(int(entry.name))
            elif is_browser and mark in (entry / "environ").read_bytes().split(b"\0"):
                found["browser"].append(int(entry.name))
    return found


def is_clean(home: Home) -> bool:
    return not any(find_processes(home).values())


def folder_of(home: Home) -> Path:
    """The folder of the browser's temporary files."""
    return name_browser_folder(SourceFolder(home.sources, "site").path)


def check_result(home: Home, job: Job, server: SiteServer) -> None:
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0), job
    files = files_of(home)
    assert len(files) == COUNT
    for number in range(COUNT):
        assert text_of(number) in files["index.html" if number == 0 else f"p/{number}.html"].decode()
    wait_until(lambda: is_clean(home))
    assert not list(folder_of(home).parent.glob(f"{folder_of(home).name}*"))


@pytest.mark.slow
def test_a_worker_killed_at_a_rendered_page_leaves_no_browser(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"render.taken:{marker}")
    with SiteServer(shell_site(COUNT)) as server:
        manager = JobManager(home)
        job = finish(manager, manager.submit("scrape", "site", url=server.url, render="auto", **WISHES))
        assert marker.exists(), "the point was never reached"
        check_result(home, job, server)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(80, 80 + FACTOR))
def test_random_kills_of_browser_and_worker(home: Home, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1000")
    generator = random.Random(seed)
    with SiteServer(shell_site(COUNT)) as server:
        manager = JobManager(home)
        job_id = manager.submit("scrape", "site", url=server.url, render="always", **WISHES)
        for victim in VICTIMS * 2:

            def rendering() -> dict[str, list[int]] | bool:
                if manager.get_status(job_id).has_ended:
                    return True
                found = find_processes(home)
                return found if found["browser"] and found["driver"] else False

            found = wait_until(rendering, 60)
            if found is True:
                break
            time.sleep(generator.uniform(0.0, 2.0))  # a moment of its work, at random
            targets = find_processes(home)
            worker = manager.get_status(job_id).pid
            targets["worker"] = [] if worker is None else [worker]
            for process in [*targets["worker"], *targets["browser"]] if victim == "both" else targets[victim]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if victim in ("worker", "both"):
                # Nothing of the dead worker's stays, whether or not another has begun.
                gone = {one for pids in targets.values() for one in pids}
                wait_until(lambda gone=gone: not gone & {one for pids in find_processes(home).values() for one in pids})
        for _ in manager.follow([job_id], revive=True):
            pass
        check_result(home, manager.get_status(job_id), server)
