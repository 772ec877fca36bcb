"""``kbjobs daemon``: as an operator and a service manager use it. What it does to jobs is in tests/daemon/."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.services.jobs import JobManager
from kbjobs.store.locks import try_lock
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Status
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, is_alive, read_json, wait_until

pytestmark = pytest.mark.processes


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "daemon")
    for command in ("start", "stop", "restart", "status", "run", "unit"):
        check_help(kbjobs, "daemon", command)


def test_no_daemon(home: Home, kbjobs: Kbjobs) -> None:
    assert kbjobs("daemon", "status").stdout == "not running\n"
    assert read_json(kbjobs("daemon", "status", "--json"))["running"] is False
    stopped = kbjobs("daemon", "stop")
    assert (stopped.stdout, stopped.stderr) == ("", "No daemon is running.\n")
    assert read_json(kbjobs("daemon", "stop", "--json")) == {"stopped": False, "running": False}
    assert not home.state_file.exists()


def test_from_start_to_stop(home: Home, kbjobs: Kbjobs) -> None:
    assert kbjobs("daemon", "start").stderr == "The daemon has started.\n"
    assert kbjobs("daemon", "start").stderr == "A daemon is already running.\n"
    status = read_json(kbjobs("daemon", "status", "--json"))
    assert kbjobs("daemon", "status").stdout.startswith(f"running: process {status['pid']}, kbjobs ")
    assert "a daemon is already running in this home" in kbjobs("daemon", "run", check=5).stderr
    restarted = read_json(kbjobs("daemon", "restart", "--json"))
    assert (restarted["started"], restarted["running"]) == (True, True)
    assert restarted["pid"] != status["pid"] and not is_alive(status["pid"])
    assert kbjobs("daemon", "stop").stderr == "The daemon has ended.\n"
    assert not is_running(home)


def test_a_daemon_that_cannot_start_says_why(home: Home, source: str, kbjobs: Kbjobs) -> None:
    home.config_file.write_text("workers = 0\n")
    for command, code in ((["daemon", "start"], 7), (["run", "steps", source], 2)):
        assert "workers = 0 is out of range" in kbjobs(*command, check=code).stderr
    assert not is_running(home)


def test_a_damaged_state_is_no_place_to_start(home: Home, kbjobs: Kbjobs) -> None:
    home.state_file.write_bytes(b"garbage " * 2000)
    assert "state.db is damaged" in kbjobs("daemon", "start", check=7).stderr
    assert home.state_file.read_bytes() == b"garbage " * 2000


def test_stop_does_not_signal_a_stranger(home: Home, kbjobs: Kbjobs) -> None:
    home.prepare()
    stranger = subprocess.Popen(["sleep", "600"])
    lock = try_lock(home.daemon_lock, 1)
    assert lock is not None
    try:
        queue = Queue(home.state_file)
        queue.describe_daemon(stranger.pid, "0")
        queue.close()
        assert "held by another process" in kbjobs("daemon", "stop", check=7).stderr
        assert is_alive(stranger.pid)
    finally:
        lock.release()
        stranger.kill()
        stranger.wait()


def test_in_the_foreground_it_stops_on_sigterm(home: Home, source: str) -> None:
    manager = JobManager(home)
    daemon = subprocess.Popen([sys.executable, "-m", "kbjobs", "daemon", "run"], stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: manager.get_daemon().pid == daemon.pid)
        job_id = manager.submit("steps", source, count=100, seconds=0.1)
        wait_until(lambda: (job := manager.get_status(job_id)).pid and job.phase)
        daemon.send_signal(signal.SIGTERM)
        _, output = daemon.communicate(timeout=20)
        assert daemon.returncode == 0, output
        assert manager.get_status(job_id).status is Status.PENDING
    finally:
        with contextlib.suppress(ProcessLookupError):
            daemon.kill()


def test_the_unit_names_this_home_and_is_accepted_by_systemd(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    unit = tmp_path / "kbjobs.service"
    unit.write_text(kbjobs("daemon", "unit").stdout)
    assert f'Environment="KBJOBS_HOME={home.path}"\n' in unit.read_text()
    assert f'ExecStart="{sys.executable}" -P -m kbjobs daemon run\n' in unit.read_text()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    checked = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
