"""Kills and a full disk under delete_source: in the end nothing of the source is left, and nothing else is touched."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running, stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, Kbjobs, read_json, wait_until, write_pages
from tests.faults.test_crash_points import finish
from tests.faults.test_full_disk import fill_to_the_last_byte
from tests.phases.test_clear_vectors import add_other_model

POINTS = ("delete.renamed", "source.ended", "delete.removed_file", "delete.removed", "worker.before_finish")
KEEP_POINTS = (*POINTS, "delete.before_return", "delete.returned")

pytestmark = pytest.mark.processes


def make_source(home: Home, folder: Path, files: int = 5) -> list[Path]:
    """The source docs of copied pages, vectors of a model, and a link out of the home; returns the files outside."""
    outside = write_pages(folder / "outside", 3)
    register(home, "docs", [write_pages(folder / "pages", files), outside], copy=True)
    add_other_model(home, 7)
    (SourceFolder(home.sources, "docs").path / "link").symlink_to(outside)
    register(home, "other", [outside])
    return sorted(outside.iterdir())


def check_gone(home: Home, manager: JobManager, outside: list[Path], kept: int) -> None:
    folder = SourceFolder(home.sources, "docs")
    assert sorted(path.name for path in home.sources.iterdir()) == (["docs", "other"] if kept else ["other"])
    if kept:
        assert sorted(path.name for path in folder.path.iterdir()) == ["link", "pages"]
        assert len(list(folder.pages.rglob("*.html"))) == kept
    assert all(path.exists() for path in outside) and len(list(outside[0].parent.iterdir())) == len(outside)
    assert SourceFolder(home.sources, "other").read().id == "other"
    queue = Queue(home.state_file)
    assert queue.connection.execute("SELECT count(*) FROM locks").fetchone()[0] == 0
    assert queue.connection.execute("SELECT count(*) FROM checkpoints").fetchone()[0] == 0
    queue.close()
    assert all(job.source_deleted_at for job in manager.get_job_history(source_id="docs"))


@pytest.mark.parametrize(
    ("point", "keep_files"), [*((point, False) for point in POINTS), *((point, True) for point in KEEP_POINTS)]
)
def test_a_kill_at_each_point(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, keep_files: bool
) -> None:
    outside = make_source(home, tmp_path)
    manager = JobManager(home)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    job = finish(manager, manager.submit("delete_source", "docs", confirm="docs", keep_files=keep_files))
    assert marker.exists(), "the point was never reached"
    assert (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 2), job
    assert job.result is not None  # what it was before the kill
    assert (job.result["vectors"], job.result["documents"]) == (7, 0)
    # Ledger and its lock, collection, manifest, lock; where nothing is kept the pages too.
    assert job.result["files"] == (5 if keep_files else 13)
    check_gone(home, manager, outside, kept=8 if keep_files else 0)


@pytest.mark.full
@pytest.mark.long
@pytest.mark.parametrize("seed", range(70, 70 + 2 * FACTOR))
def test_random_kills_end_clean(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """As many files as the removal of takes a while, and kills as long as it lasts."""
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1000")
    outside = make_source(home, tmp_path)
    folder = SourceFolder(home.sources, "docs").path
    for number in range(60_000):
        (folder / f"{number}.txt").touch()
    manager = JobManager(home)
    job_id = manager.submit("delete_source", "docs", confirm="docs")
    generator = random.Random(seed)
    for _ in range(3):
        pid = wait_until(lambda: (now := manager.get_status(job_id)).pid or now.has_ended)
        if pid is True:
            break
        time.sleep(generator.uniform(0.0, 0.8))  # the start of a worker takes half of it
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: manager.get_status(job_id).pid != pid)
    job = finish(manager, job_id)
    assert job.attempt > 1
    assert (job.exit_code, job.result and job.result["files"]) == (0, 60_013)
    check_gone(home, manager, outside, kept=0)


@pytest.mark.parametrize("has_daemon", [False, True])
def test_on_a_full_disk_it_works_all_the_same(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, kbjobs: Kbjobs, has_daemon: bool
) -> None:
    home = Home(small_disk / "home")
    monkeypatch.setenv("KBJOBS_HOME", str(home.path))
    home.prepare()
    outside = make_source(home, small_disk)
    folder = SourceFolder(home.sources, "docs").path
    (folder / "big").write_bytes(b"x" * 5_000_000)
    try:
        if has_daemon:
            kbjobs("daemon", "start")
        Queue(home.state_file).close()
        fill_to_the_last_byte(small_disk)
        assert shutil.disk_usage(small_disk).free == 0
        kbjobs("run", "delete-source", "docs", "--confirm", "docs", "--quiet", timeout=60)
        [job] = read_json(kbjobs("history", "--json"))
        assert job["status"] == "completed" and job["result"]["freed_bytes"] > 5_000_000
        assert shutil.disk_usage(small_disk).free > 4_000_000
        check_gone(home, JobManager(home), outside, kept=0)
    finally:
        if is_running(home):
            stop_daemon(home, now=True, seconds=30)


def test_a_file_that_cannot_be_removed_fails_the_job_and_a_resume_ends_it(
    home: Home, tmp_path: Path, kbjobs: Kbjobs
) -> None:
    outside = make_source(home, tmp_path)
    stubborn = SourceFolder(home.sources, "docs").pages / "1" / "stubborn.html"
    stubborn.write_text("x")
    if subprocess.run(["chattr", "+i", stubborn], capture_output=True, check=False).returncode:
        pytest.skip("no file can be made immutable here (it needs root, and a file system that knows it)")
    moved = home.sources / ".deleting-docs" / "pages" / "1" / "stubborn.html"
    try:
        told = kbjobs("run", "delete-source", "docs", "--confirm", "docs", check=1).stderr
        assert f"{moved} cannot be removed: Operation not permitted" in told
        assert [path for path in moved.parents[2].rglob("*") if not path.is_dir()] == [moved]
        assert "Source docs was deleted, but files of it remain" in kbjobs("sources", "list").stderr
        assert "is not completely deleted" in kbjobs("sources", "add", "docs", tmp_path / "pages", check=5).stderr
        assert kbjobs("interrupted").stdout.startswith("1\tdelete-source\tdocs (deleted)\tfailed")
    finally:
        subprocess.run(["chattr", "-i", moved], check=True)
    kbjobs("resume", "1")
    manager = JobManager(home)
    result = manager.get_status(1).result
    assert result is not None and result["files"] == 14
    check_gone(home, manager, outside, kept=0)
