"""A daemon under which the program is upgraded; a state that an older program has written."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.daemon.processes import RUN_VARIABLE
from kbjobs.daemon.progress_writer import LOST
from kbjobs.errors import UnavailableError
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.locks import is_locked
from kbjobs.store.queue import Queue
from kbjobs.store.state import STATE_VERSION, OlderDaemonError
from kbjobs.store.transitions import Status
from kbjobs.version import VERSION
from tests.conftest import ROOT, Kbjobs, known, read_json, wait_ended, wait_until, write_pages

NEWER = "99.0.0"

pytestmark = pytest.mark.usefixtures("test_types")


@pytest.fixture
def package(tmp_path: Path, test_types: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the program that daemons and workers of this test run."""
    copy = tmp_path / "installed" / "kbjobs"
    shutil.copytree(ROOT / "kbjobs", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PYTHONPATH", f"{copy.parent}:{os.environ['PYTHONPATH']}")
    return copy


@pytest.fixture
def manager(home: Home, tmp_path: Path) -> Iterator[JobManager]:
    register(home, "a", [write_pages(tmp_path / "a", 1)])
    register(home, "b", [write_pages(tmp_path / "b", 1)])
    opened = JobManager(home)
    yield opened
    opened.close()


def upgrade(package: Path) -> None:
    file = package / "version.py"
    file.write_text(re.sub(r'^VERSION = "[^"]+"', f'VERSION = "{NEWER}"', file.read_text(), flags=re.MULTILINE))


def test_a_daemon_lets_its_jobs_end_and_hands_over(manager: JobManager, package: Path) -> None:
    running = manager.submit("steps", "a", count=40, seconds=0.05)
    wait_until(lambda: manager.get_status(running).phase)
    before = manager.get_daemon()
    assert before.version == VERSION
    upgrade(package)
    waiting = manager.submit("steps", "b", count=1)
    wait_until(lambda: "takes over" in manager.home.daemon_log.read_text())
    assert manager.get_status(waiting).status is Status.PENDING  # it starts nothing any more
    assert manager.get_status(running).status is Status.RUNNING
    wait_until(lambda: manager.get_status(waiting).has_ended)
    after = manager.get_daemon()
    assert (after.version, after.pid) == (NEWER, before.pid)
    assert [manager.get_status(one).exit_code for one in (running, waiting)] == [0, 0]
    assert manager.get_status(running).attempt == 1


def test_a_daemon_in_the_foreground_hands_over_too(manager: JobManager, home: Home, package: Path) -> None:
    process = subprocess.Popen([sys.executable, "-P", "-m", "kbjobs", "daemon", "run"], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_running(home) and manager.get_daemon().version)
        upgrade(package)
        job_id = manager.submit("steps", "a", count=1)
        wait_until(lambda: manager.get_status(job_id).has_ended)
        assert (manager.get_daemon().version, manager.get_daemon().pid) == (NEWER, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def pull(package: Path, module: str, text: str) -> None:
    """Change a module as ``git pull`` does: in place, under the same version."""
    file = package / module
    file.write_text(f"{file.read_text()}\n{text}\n")


def test_a_pull_under_a_daemon_is_noticed(manager: JobManager, package: Path) -> None:
    manager.submit("steps", "a", count=1)
    wait_until(lambda: not manager.get_active_jobs())
    before = manager.get_daemon()
    pull(package, "formatting.py", "# changed")
    os.kill(before.pid or 0, signal.SIGCHLD)  # wakes it

    def is_another() -> bool:
        os.kill(before.pid or 0, signal.SIGCHLD)
        return manager.get_daemon().started_at != before.started_at and manager.get_daemon().running

    wait_until(is_another, interval=0.2)
    assert (manager.get_daemon().version, manager.get_daemon().pid) == (VERSION, before.pid)
    assert manager.home.daemon_log.read_text().count(" serves ") == 2


USES_A_NAME_THAT_MOVED = """
import time
from pathlib import Path

def work(hold):
    import kbjobs.formatting
    Path(hold).touch()
    while Path(hold).exists():
        time.sleep(0.01)
    from kbjobs.formatting import ADDED
    return {"found": ADDED}
"""


def test_a_job_that_fails_on_a_module_that_moved_goes_on_with_the_newer_program(
    manager: JobManager, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1")
    (package.parent / "moving.py").write_text(USES_A_NAME_THAT_MOVED)
    monkeypatch.syspath_prepend(str(package.parent))
    import moving  # type: ignore[import-not-found]

    hold = tmp_path / "hold"
    job_id = manager.submit("moving", "a", moving.work, str(hold))
    wait_until(hold.exists)
    pull(package, "formatting.py", "ADDED = 7")
    hold.unlink()
    wait_until(hold.exists)  # its second attempt
    hold.unlink()
    job = wait_ended(manager, job_id)
    assert (job.exit_code, job.attempt, job.result) == (0, 2, {"found": 7})
    first, second = manager.get_attempts(job_id)
    assert (first.outcome, first.error, second.outcome) == ("requeue", "kbjobs was replaced under it", "complete")
    assert "cannot import name 'ADDED'" in manager.log_file(job, 1).read_text()


def test_a_worker_that_dies_under_another_program_is_not_counted(
    manager: JobManager, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1")
    job_id = manager.submit("steps", "a", count=20, seconds=0.05, misbehave="deaf")
    job = wait_until(lambda: (one := manager.get_status(job_id)).pid and one.phase and one)
    pull(package, "daemon/worker.py", "# changed")
    os.kill(job.pid, signal.SIGKILL)
    wait_until(lambda: manager.get_status(job_id).attempt == 2)
    assert [one.outcome for one in manager.get_attempts(job_id)] == ["requeue", None]
    manager.cancel(job_id)


def submit_one(home: Home) -> int:
    with JobManager(home) as own:
        return own.submit("steps", "a", count=1)


def test_who_submits_while_a_daemon_hands_over_waits_for_the_next(
    manager: JobManager, home: Home, package: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen([sys.executable, "-P", "-m", "kbjobs", "daemon", "run"], stderr=subprocess.DEVNULL)
    hold = tmp_path / "hold"
    try:
        wait_until(lambda: is_running(home) and manager.get_daemon().version)
        hold.touch()
        supervisor = package / "daemon" / "supervisor.py"
        is_held = f"sys.argv[1:] == ['daemon', 'run'] and os.path.exists({str(hold)!r})"
        supervisor.write_text(f"{supervisor.read_text()}\nimport sys\nwhile {is_held}:\n    time.sleep(0.01)\n")
        upgrade(package)
        os.kill(process.pid, signal.SIGCHLD)  # wakes it
        wait_until(lambda: not is_running(home))
        assert is_locked(home.start_lock)  # whoever comes now starts no daemon
        with ThreadPoolExecutor() as pool:
            submitted = pool.submit(submit_one, home)
            wait_until(manager.get_active_jobs)
            hold.unlink()
            job_id = submitted.result(30)
        wait_until(lambda: manager.get_status(job_id).has_ended)
        assert (manager.get_daemon().version, manager.get_daemon().pid) == (NEWER, process.pid)
        assert not is_locked(home.start_lock)
    finally:
        hold.unlink(missing_ok=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_state_that_a_newer_program_has_migrated_is_left_to_it(manager: JobManager, home: Home) -> None:
    ended = manager.submit("steps", "a", count=1)
    wait_until(lambda: manager.get_status(ended).has_ended)
    queue = Queue(home.state_file)
    queue.connection.execute(f"PRAGMA user_version = {STATE_VERSION + 1}")
    queue.close()
    os.kill(manager.get_daemon().pid or 0, signal.SIGCHLD)  # wakes it
    wait_until(lambda: f"state format {STATE_VERSION + 1}" in home.daemon_log.read_text())
    wait_until(lambda: not is_running(home))  # what is installed here cannot serve that state either


OLDER_DAEMON = """
import fcntl, os, signal, sys
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[2] == "deaf" else lambda number, frame: sys.exit(0))
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture(params=["obedient"])
def older(request: pytest.FixtureRequest, home: Home) -> Iterator[subprocess.Popen[str]]:
    """What looks like the daemon of a version that does not hand over, under a state of its format."""
    home.prepare()
    shutil.copy(ROOT / "tests" / "frozen" / "state-2.db", home.state_file)
    home.state_file.chmod(0o600)
    process = subprocess.Popen(
        [sys.executable, "-c", OLDER_DAEMON, str(home.daemon_lock), request.param], stdout=subprocess.PIPE, text=True
    )
    assert known(process.stdout).readline()
    with contextlib.closing(sqlite3.connect(home.state_file)) as state, state:
        state.execute("DELETE FROM daemon")
        state.execute("INSERT INTO daemon VALUES (1, ?, '0.1.0', '2026-01-01T00:00:00Z', '[]')", (process.pid,))
    yield process
    process.kill()
    process.wait()
    known(process.stdout).close()


def format_of(home: Home) -> int:
    with contextlib.closing(sqlite3.connect(home.state_file)) as state:
        return int(state.execute("PRAGMA user_version").fetchone()[0])


def test_who_only_reads_leaves_an_older_daemon_and_its_state_alone(
    home: Home, older: subprocess.Popen[str], kbjobs: Kbjobs
) -> None:
    assert "kbjobs 0.1.0" in kbjobs("status").stderr
    assert read_json(kbjobs("status", "6", "--json"))["status"] == "pending"
    assert (format_of(home), older.poll(), is_running(home)) == (2, None, True)


def test_an_older_daemon_is_stopped_before_the_state_is_migrated(
    home: Home, older: subprocess.Popen[str], kbjobs: Kbjobs
) -> None:
    cancelled = kbjobs("cancel", "6")
    assert f"the daemon of kbjobs 0.1.0 (process {older.pid}) serves {home.state_file}" in cancelled.stderr
    assert "stopping it" in cancelled.stderr
    assert older.wait(30) == 0
    assert format_of(home) == STATE_VERSION
    with JobManager(home) as manager:
        assert (manager.get_daemon().running, manager.get_daemon().version) == (True, VERSION)


@pytest.mark.parametrize("older", ["deaf"], indirect=True)
def test_nothing_is_migrated_under_an_older_daemon_that_does_not_stop(
    home: Home, older: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kbjobs.daemon.launching.MARGIN_SECONDS", 0.2)
    monkeypatch.setenv("KBJOBS_GRACE_SECONDS", "0")
    with JobManager(home) as manager, pytest.raises(UnavailableError) as refused:
        manager.cancel(6)
    assert "cannot be stopped" in refused.value.message
    assert "kbjobs daemon stop --now" in refused.value.hint
    assert (format_of(home), older.poll()) == (2, None)
    with pytest.raises(OlderDaemonError):  # nor by anything else that would write
        Queue(home.state_file)


def test_a_worker_under_an_older_daemon_has_it_replaced(
    home: Home, older: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "kbjobs.daemon.worker", str(home.path), "6"],
        env={**os.environ, RUN_VARIABLE: "run-of-an-older-daemon"},
        stderr=subprocess.DEVNULL,
    )
    assert older.wait(30) == 0
    wait_until(lambda: is_running(home) and format_of(home) == STATE_VERSION)
    worker.terminate()  # as the older daemon does when it stops
    assert worker.wait(30) == LOST


CHAIN = """name = "nightly"
[[phase]]
job = "metadata"
weight = 20
params = { language_filter = "en" }
[[phase]]
job = "index_offline"
weight = 70
[[phase]]
job = "suggest_tags"
weight = 10
"""


@pytest.fixture
def former(home: Home, tmp_path: Path, minilm: None) -> Path:
    """A home with the state of 0.1.0: job 1, the chain nightly, ended after its first phase; job 2 waits, an index.

    Returns the chain's file.
    """
    home.prepare()
    shutil.copy(ROOT / "tests" / "frozen" / "chain-0.1.0.db", home.state_file)
    home.state_file.chmod(0o600)
    register(home, "docs", [write_pages(tmp_path / "docs", 3)])
    file = tmp_path / "nightly.toml"
    file.write_text(CHAIN)
    return file


def test_a_chain_that_an_older_version_left_is_resumed(former: Path, home: Home, kbjobs: Kbjobs) -> None:
    kbjobs("cancel", "2")
    resumed = kbjobs("chain", former, "--source", "docs", "--resume")
    assert "1 of 3 phases done" in resumed.stderr
    assert "3 of 3 phases done, 1 of them before" in resumed.stdout
    assert read_json(kbjobs("status", "3", "--json"))["phases"][0]["result"] == {"documents": 3, "new": 3}
    # What another job has completed since is not offered again.
    assert "Nothing to resume" in kbjobs("interrupted").stderr


def test_a_job_that_an_older_version_left_goes_on_under_its_id(former: Path, kbjobs: Kbjobs) -> None:
    kbjobs("cancel", "2")
    assert "3 of 3 phases done" in kbjobs("resume", "1").stdout
    assert read_json(kbjobs("status", "1", "--json"))["phases"][0]["result"] == {"documents": 3, "new": 3}


def test_the_same_job_as_one_that_an_older_version_queued_is_refused(former: Path, kbjobs: Kbjobs) -> None:
    assert "job 2" in kbjobs("run", "index-offline", "docs", "--detach", check=5).stderr
