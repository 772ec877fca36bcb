"""A home on a read-only disk, as in a mounted backup: what is only read can be read."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.store.jobs import NewJob
from kbjobs.store.queue import Queue
from tests.conftest import Kbjobs, phase_state, read_json


@pytest.fixture(params=["closed", "open"])
def read_only(small_disk: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Home]:
    """``open``: the write-ahead log still holds what was written last, as after a crash."""
    home = Home(small_disk / "home")
    monkeypatch.setenv("KBJOBS_HOME", str(home.path))
    home.prepare()
    queue = Queue(home.state_file)
    queue.submit(NewJob("metadata", "a", {}, (phase_state("metadata", "metadata"),), ("source:a",)))
    if request.param == "open":
        copies = [(path, path.read_bytes()) for path in home.path.glob("state.db*") if not path.name.endswith("-shm")]
        queue.close()
        for path, content in copies:
            path.write_bytes(content)
    else:
        queue.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    yield home
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


def test_what_is_read_works(read_only: Home, kbjobs: Kbjobs) -> None:
    assert "pending" in kbjobs("status").stdout
    assert "metadata" in kbjobs("status", "1").stdout
    assert [job["id"] for job in read_json(kbjobs("history", "--json"))] == [1]
    for arguments in (["interrupted"], ["sources", "list"], ["daemon", "status"], ["config", "show"], ["types"]):
        kbjobs(*arguments)
    assert "mount it for writing" in kbjobs("doctor", check=1).stdout


def test_what_would_write_says_why_it_cannot(read_only: Home, kbjobs: Kbjobs) -> None:
    assert "is on a read-only disk" in kbjobs("cancel", "1", check=7).stderr
    assert "Read-only file system" in kbjobs("daemon", "start", check=7).stderr
    assert "pending" in kbjobs("status").stdout
