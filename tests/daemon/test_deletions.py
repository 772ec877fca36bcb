"""What is left of deleted sources is removed at the daemon's start, unless a job goes on with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.deletions import finish_deletions
from kbjobs.daemon.launching import ensure_daemon
from kbjobs.services.doctor import CHECKS
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.checkpoints import Checkpoint
from kbjobs.store.queue import Queue
from kbjobs.store.source_deletion import SourceFolderDeletion, list_unfinished
from tests.conftest import phase_state, wait_until, write_pages


@pytest.fixture
def half_deleted(home: Home, tmp_path: Path) -> SourceFolderDeletion:
    """The source docs, whose deletion has been left in the middle, with a job and a checkpoint of it."""
    register(home, "docs", [write_pages(tmp_path / "pages", 3)], copy=True)
    queue = Queue(home.state_file)
    queue.save_checkpoint(Checkpoint("docs", "nightly", (phase_state("metadata", "metadata"),)))
    planned = JobManager(home).plan(JobManager(home).find_chain("delete_source", {"confirm": "docs"}), "docs")
    home.prepare()
    queue.cancel(queue.submit(planned.job).id)
    queue.close()
    removal = SourceFolderDeletion(home.sources, "docs")
    removal.begin(keep_files=False)
    return removal


def test_the_next_daemon_finishes_and_puts_the_end_on_record(home: Home, half_deleted: SourceFolderDeletion) -> None:
    ensure_daemon(home)
    wait_until(lambda: not list(home.sources.iterdir()))
    wait_until(lambda: "what was left of the deleted source docs is removed" in home.daemon_log.read_text())
    queue = Queue(home.state_file)
    assert queue.load_checkpoint("docs", "nightly") is None
    assert queue.get(1).source_deleted_at is not None
    queue.close()


def test_a_job_that_waits_does_it_itself(home: Home, half_deleted: SourceFolderDeletion) -> None:
    queue = Queue(home.state_file)
    queue.resume(1)
    queue.close()
    finish_deletions(home)
    assert half_deleted.hidden is not None


def test_what_cannot_be_removed_is_logged_and_stops_nobody(
    home: Home, half_deleted: SourceFolderDeletion, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    register(home, "second", [write_pages(tmp_path / "more", 1)])
    second = SourceFolderDeletion(home.sources, "second")
    second.begin(keep_files=False)
    hidden = half_deleted.hidden
    assert hidden is not None
    stubborn = hidden / "pages" / "stubborn"
    stubborn.touch()
    if subprocess.run(["chattr", "+i", stubborn], capture_output=True, check=False).returncode:
        pytest.skip("no file can be made immutable here (it needs root, and a file system that knows it)")
    finish_deletions(home)
    subprocess.run(["chattr", "-i", stubborn], check=True)
    assert [one.source.id for one in list_unfinished(home.sources)] == ["docs"]
    assert "what is left of the deleted source docs stays" in caplog.text and "stubborn" in caplog.text


def test_doctor_tells_of_it(home: Home, half_deleted: SourceFolderDeletion) -> None:
    output = [finding for check in CHECKS for finding in check(home) if finding.check == "deleted sources"]
    assert [finding.text for finding in output] == [
        f"what is left of the deleted source docs lies in {half_deleted.hidden}"
    ]
