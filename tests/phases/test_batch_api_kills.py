"""Kills of a job that buys by batches, at each named point and at each request: every passage is bought once."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, rest_full, write_pages
from tests.faults.points import POINTS
from tests.phases.test_batch_api import check
from tests.servers.openai_server import OpenAIServer

pytestmark = [pytest.mark.slow, pytest.mark.processes]
PAGES = 60


@pytest.fixture(autouse=True)
def docs(home: Home, tmp_path: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of small pages, and an account whose queue takes about a third of them at a time."""
    monkeypatch.setenv("KBJOBS_BATCH_POLL_SECONDS", "0.2")
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1000")
    register(home, "docs", [write_pages(tmp_path / "pages", PAGES)])
    openai_api.desk.token_limit = 500


class Killer:
    """Kills the worker of a job from within the server."""

    def __init__(self, home: Home, openai_api: OpenAIServer) -> None:
        self.manager, self._watcher = JobManager(home), JobManager(home)
        self._home, self._api = home, openai_api
        self._lock = threading.Lock()
        self.killed: list[int] = []
        self.job_id = 0

    def kill(self) -> None:
        with self._lock:
            pid = self._watcher.get_status(self.job_id).pid if self.job_id else None
            if pid and pid not in self.killed:
                self.killed.append(pid)
                os.kill(pid, signal.SIGKILL)

    def run(self) -> None:
        """The job from its submit to its end; everything was bought once then."""
        self.job_id = self.manager.submit("index_online", "docs", batch_api=True)
        for _ in self.manager.follow([self.job_id], revive=True):
            pass
        job = self.manager.get_status(self.job_id)
        assert (job.status, job.exit_code) == (Status.COMPLETED, 0), job
        assert job.result is not None
        assert (job.result["embedded"], job.result["failed"]) == (PAGES, 0)
        assert job.result["tokens"] == job.result["batch_tokens"] == self._api.sold_tokens
        self._watcher.close()
        desk = self._api.desk
        keys = [one["metadata"]["kbjobs"] for one in desk.batches.values()]
        assert len(keys) == len(set(keys)) >= 3
        # What a killed worker has not come to delete, or has sent twice and used once, may stay at the server.
        desk.files = {}
        check(self._home, self._api, PAGES)
        ledger = Ledger(SourceFolder(self._home.sources, "docs").ledger)
        written = ledger.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'vectors'").fetchone()[0]
        ledger.close()
        assert written == PAGES  # no vector was written twice


@pytest.mark.parametrize(
    "point", rest_full((point for point in POINTS if point.startswith("batch.")), "batch.uploaded")
)
def test_a_kill_at_each_point(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    Killer(home, openai_api).run()
    assert marker.exists(), "the point was never reached"


@pytest.mark.full
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/files"),
        ("POST", "/batches"),
        ("GET", "/batches/batch_"),
        ("GET", "/files/file-"),
        ("DELETE", "/files/"),
    ],
)
def test_a_kill_while_a_request_is_answered(
    home: Home, openai_api: OpenAIServer, method: str, path: str, moment: str
) -> None:
    """Before the server has done what it was asked for, and when it has, but nobody knows."""
    killer = Killer(home, openai_api)

    def strike(this_method: str, this_path: str) -> None:
        if this_method == method and this_path.startswith(path) and len(killer.killed) < 2:
            killer.kill()

    setattr(openai_api.desk, moment, strike)
    killer.run()
    assert len(killer.killed) == 2


@pytest.mark.full
def test_a_batch_that_is_made_after_its_client_was_killed_is_found(
    home: Home, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is still on its way when the next worker begins: that one waits before it looks."""
    monkeypatch.setenv("KBJOBS_BATCH_POLL_SECONDS", "6")
    openai_api.desk.token_limit = None
    killer = Killer(home, openai_api)
    began: list[float] = []

    def strike(method: str, path: str) -> None:
        if (method, path) == ("POST", "/batches") and not began:
            began.append(time.monotonic())
            killer.kill()
            # The next worker has started, and could have sent its own by then.
            killed = killer.killed[0]
            while killer._watcher.get_status(killer.job_id).pid in (killed, None):
                time.sleep(0.05)
            time.sleep(2.0)

    openai_api.desk.before = strike
    job_id = killer.job_id = killer.manager.submit("index_online", "docs", batch_api=True)
    for _ in killer.manager.follow([job_id], revive=True):
        pass
    assert killer.manager.get_status(job_id).exit_code == 0
    assert len(killer.killed) == 1
    assert len(openai_api.desk.batches) == 1
    check(home, openai_api, PAGES)


@pytest.mark.full
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(40, 40 + 2 * FACTOR))
def test_random_kills_buy_everything_once(home: Home, openai_api: OpenAIServer, seed: int) -> None:
    draw = random.Random(seed)
    killer = Killer(home, openai_api)
    openai_api.desk.expire_after = [5, 11]

    def maybe(method: str, path: str) -> None:
        if draw.random() < 0.15 and len(killer.killed) < 12:
            killer.kill()

    strike: Callable[[str, str], None] = maybe
    openai_api.desk.before = openai_api.desk.after = strike
    killer.run()
    assert len(killer.killed) >= 4
