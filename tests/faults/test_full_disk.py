"""A full disk under the queue: each write is refused whole, and goes through when there is room again."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.attempt import write_despite_full_disk
from kbjobs.daemon.launching import is_running, stop_daemon
from kbjobs.errors import ExitCode, KbjobsError
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.connection import explain, is_disk_full
from kbjobs.store.jobs import NewJob, Report
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_copy import LedgerCopy, open_ledger
from kbjobs.store.queue import Queue
from kbjobs.store.run_outcomes import RunOutcome
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Event, Status
from tests.conftest import (
    Kbjobs,
    copy_pages,
    fill_disk,
    known,
    phase_state,
    read_json,
    rest_full,
    wait_until,
    write_pages,
)

BIG = "x" * 200_000  # more than the pages that the write-ahead log has to spare


@pytest.fixture
def queue(small_disk: Path) -> Iterator[Queue]:
    opened = Queue(small_disk / "state.db")
    opened.connection.execute("PRAGMA wal_autocheckpoint = 0")
    yield opened
    opened.close()


def submit(queue: Queue) -> int:
    return queue.submit(NewJob("t", "wiki", {}, (phase_state(),), ("source:wiki",))).id


def claim(queue: Queue) -> None:
    # A claim writes little: room for it is taken by a row of the same transaction.
    queue.connection.execute(
        "CREATE TEMP TRIGGER IF NOT EXISTS fat AFTER INSERT ON main.locks BEGIN"
        f" UPDATE jobs SET message = '{BIG}' WHERE id = new.job_id; END"
    )
    assert queue.claim("r2") is not None


def progress(queue: Queue) -> None:
    queue.record_progress(1, "r1", 9, 1.0, Report(50.0, None, (), BIG, None))


def finish(queue: Queue) -> None:
    queue.finish(1, "r1", RunOutcome(Event.COMPLETE, ExitCode.DONE, BIG), {"n": 1})


def requeue(queue: Queue) -> None:
    assert queue.record_death(1, "r1", BIG, 3) is not None


OPERATIONS: dict[str, tuple[Callable[[Queue], None], Status]] = {
    "claim": (claim, Status.RUNNING),
    "progress": (progress, Status.RUNNING),
    "finish": (finish, Status.COMPLETED),
    "requeue": (requeue, Status.PENDING),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_is_lost(small_disk: Path, queue: Queue, name: str) -> None:
    operation, after = OPERATIONS[name]
    submit(queue)
    if name != "claim":
        queue.claim("r1")
    before = queue.get(1)
    attempts = queue.connection.execute("SELECT * FROM attempts").fetchall()
    filler = fill_disk(small_disk, 0)
    with pytest.raises(sqlite3.Error) as caught:
        operation(queue)
    assert is_disk_full(caught.value)
    assert "full" in explain(caught.value, queue.path).message
    assert queue.get(1) == before
    assert [tuple(row) for row in queue.connection.execute("SELECT * FROM attempts")] == [
        tuple(row) for row in attempts
    ]
    filler.unlink()
    operation(queue)
    assert queue.get(1).status is after
    assert queue.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@pytest.fixture
def full_home(small_disk: Path, monkeypatch: pytest.MonkeyPatch, test_types: None) -> Iterator[Home]:
    """A home on the small disk, with the sources a and b."""
    home = Home(small_disk / "home")
    monkeypatch.setenv("KBJOBS_HOME", str(home.path))
    home.prepare()
    for source in ("a", "b"):
        register(home, source, [write_pages(small_disk / source, 1)])
    yield home
    if is_running(home):
        stop_daemon(home, now=True, seconds=30)


def fill_to_the_last_byte(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "last").open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def test_status_and_cancel_of_a_waiting_job(small_disk: Path, full_home: Home, kbjobs: Kbjobs) -> None:
    """No daemon runs: SQLite finds no room even for the shared memory that a reader needs."""
    queue = Queue(full_home.state_file)
    submit(queue)
    queue.close()
    fill_to_the_last_byte(small_disk)
    assert shutil.disk_usage(small_disk).free == 0
    assert "pending" in kbjobs("status").stdout
    assert read_json(kbjobs("history", "--json"))[0]["status"] == "pending"
    assert "job 1 is cancelled" in kbjobs("cancel", "1").stderr
    assert "cancelled" in kbjobs("status", "1").stdout


@pytest.mark.parametrize("end", ["cancel", "complete"])
def test_the_end_of_a_running_job(small_disk: Path, full_home: Home, kbjobs: Kbjobs, end: str) -> None:
    manager = JobManager(full_home)
    # Its ledger has no room either: what it does must not be what fails here.
    # The job to cancel takes minutes, so that it has not ended before it is cancelled.
    count = {"cancel": 3_000, "complete": 20}[end]
    job_id = manager.submit("steps", "a", count=count, seconds=0.1, misbehave="idle")
    wait_until(lambda: (job := manager.get_status(job_id)).phase and job.phase.current)
    fill_to_the_last_byte(small_disk)
    if end == "cancel":
        kbjobs("cancel", job_id)
    expected = {"cancel": 9, "complete": 0}[end]
    kbjobs("wait", job_id, check=expected, timeout=60)
    assert read_json(kbjobs("status", job_id, "--json"))["exit_code"] == expected


def test_a_resume_is_refused_as_a_submit_is(small_disk: Path, full_home: Home, kbjobs: Kbjobs, minilm: None) -> None:
    queue = Queue(full_home.state_file)
    phase = phase_state("index_offline", "index_offline", {"model": "all-MiniLM-L6-v2"})
    job = queue.submit(NewJob("index_offline", "a", phase.params, (phase,), ("source:a",)))
    queue.cancel(job.id)
    queue.close()
    fill_disk(small_disk, 40 * 1024 * 1024)
    for command in (("run", "index-offline", "b"), ("resume", "1")):
        assert "the job needs at least" in kbjobs(*command, check=7, timeout=60).stderr
    assert read_json(kbjobs("status", "1", "--json"))["status"] == "cancelled"


def test_a_submit_says_that_the_disk_is_full(small_disk: Path, queue: Queue) -> None:
    filler = fill_disk(small_disk, 0)
    with pytest.raises(KbjobsError, match="is full"):
        queue.submit(NewJob("t", "wiki", {"text": BIG}, (), ()))
    filler.unlink()
    assert submit(queue) == 1


def test_status_where_temporary_files_lie_on_the_full_disk_too(
    small_disk: Path, full_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(full_home.state_file)
    submit(queue)
    queue.close()
    (small_disk / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk / "tmp"))
    fill_to_the_last_byte(small_disk)
    manager = JobManager(full_home)
    assert [job.status for job in manager.get_active_jobs()] == [Status.PENDING]
    manager.close()


def test_the_end_of_a_job_finds_the_room_that_was_kept_for_it(small_disk: Path, full_home: Home) -> None:
    with Queue(full_home.state_file) as opened:
        opened.connection.execute("PRAGMA wal_autocheckpoint = 0")
        submit(opened)
        opened.claim("r1")
        fill_to_the_last_byte(small_disk)
        with pytest.raises(sqlite3.Error) as caught:
            finish(opened)
        assert is_disk_full(caught.value)
        write_despite_full_disk(full_home, lambda: finish(opened))
        assert opened.get(1).status is Status.COMPLETED


@pytest.fixture
def indexed(full_home: Home, engines: Path, python_docs: Path, minilm: None) -> Home:
    """The home on the small disk with the source ``docs``, of twelve real pages; models are prepared elsewhere."""
    full_home.engines.symlink_to(engines)
    register(full_home, "docs", [copy_pages(python_docs, full_home.path.parent / "docs", 12)])
    return full_home


def leave_log(ledger: Path) -> None:
    """Leave a ledger as a kill and a reboot do: with its write-ahead log, and no memory that is shared."""
    log, kept = ledger.with_name("source.db-wal"), ledger.with_name("kept")
    with Ledger(ledger) as opened:
        opened.set_fact("colour", "blue")
        for file, copy in ((ledger, "db"), (log, "wal")):
            shutil.copy(file, kept.with_suffix(f".{copy}"))
    kept.with_suffix(".db").replace(ledger)
    kept.with_suffix(".wal").replace(log)


@pytest.mark.processes
@pytest.mark.parametrize("disk", rest_full(("full", "full, with a log", "read-only"), "full, with a log"))
def test_sources_are_read_and_searched(small_disk: Path, indexed: Home, kbjobs: Kbjobs, disk: str) -> None:
    kbjobs("run", "index-offline", "docs")
    kbjobs("daemon", "stop")
    ledger = SourceFolder(indexed.sources, "docs").ledger
    commands = (("sources", "list"), ("sources", "show", "docs"), ("search", "docs", "abstract base classes"))
    before = [kbjobs(*command).stdout for command in commands]
    if disk == "full, with a log":
        leave_log(ledger)
    if disk == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    else:
        fill_to_the_last_byte(small_disk)
    assert [kbjobs(*command).stdout for command in commands] == before
    opened = open_ledger(ledger)
    assert opened.fact("colour") == ("blue" if disk == "full, with a log" else None)
    assert isinstance(opened, LedgerCopy) == (disk == "full, with a log")
    opened.close()


def test_a_source_that_finds_no_room_is_not_there(small_disk: Path, full_home: Home, kbjobs: Kbjobs) -> None:
    pages = write_pages(small_disk / "more", 1)
    fill_to_the_last_byte(small_disk)
    refused = kbjobs("sources", "add", "more", pages, check=7)
    folder = full_home.sources / "more"
    assert f"{folder / 'manifest.json'}: No space left on device" in refused.stderr
    assert not folder.exists()
    manifest = (full_home.sources / "a" / "manifest.json").read_text()
    kbjobs("sources", "edit", "a", "--name", "Another", check=7)
    assert [path.name for path in (full_home.sources / "a").iterdir() if path.name != ".lock"] == ["manifest.json"]
    assert (full_home.sources / "a" / "manifest.json").read_text() == manifest


@pytest.mark.processes
def test_what_was_embedded_before_the_disk_was_full_is_kept(small_disk: Path, indexed: Home, kbjobs: Kbjobs) -> None:
    manager = JobManager(indexed)
    job_id = manager.submit("index_offline", "docs")
    ledger = SourceFolder(indexed.sources, "docs").ledger

    def vectors() -> int:
        with open_ledger(ledger) as opened:
            return int(opened.connection.execute("SELECT coalesce(max(id), 0) FROM vectors").fetchone()[0])

    wait_until(lambda: (phase := manager.get_status(job_id).phase) and phase.unit == "chunks" and phase.current, 60)
    fill_to_the_last_byte(small_disk)
    kbjobs("wait", job_id, check=7)
    failed = manager.get_status(job_id)
    assert "is full" in failed.message
    committed = vectors()
    assert failed.phase is None or 0 < failed.phase.current <= committed
    (small_disk / "last").unlink()
    resumed = kbjobs("resume", str(job_id)).stdout
    result = known(manager.get_status(job_id).result)
    assert vectors() == result["embedded"]  # none was embedded twice
    assert f"{result['embedded']} embedded ({committed} of them in earlier attempts)" in resumed


@pytest.mark.processes
@pytest.mark.parametrize("free", rest_full((8192, 12288, 65536), 8192))
def test_an_upload_without_room_says_so(small_disk: Path, full_home: Home, kbjobs: Kbjobs, free: int) -> None:
    kbjobs("run", "metadata", "a")
    fill_disk(small_disk, free)
    ended = kbjobs("run", "upload", "a", check=None)
    assert ended.returncode in (0, 7)  # 0: the reserve was enough
    assert ("is full" in ended.stderr) == (ended.returncode == 7)
    assert "worker ended with status" not in ended.stderr
