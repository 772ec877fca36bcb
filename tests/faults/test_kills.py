"""Kill anything at any moment: the job finishes, and the index equals that of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon, is_running, stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.vectors.collection import open_directory
from tests.conftest import FACTOR, copy_pages, known, wait_until
from tests.content.zims import build_zim
from tests.faults.conftest import PAGES, copy_home, run_undisturbed

KILLS = 27
pytestmark = [pytest.mark.usefixtures("minilm"), pytest.mark.processes]


def collection_vectors(home: Home, source: str) -> dict[str, np.ndarray]:
    """What is really in the vector store: vectors by record id."""
    live = next(path for path in SourceFolder(home.sources, source).vectors.iterdir())
    with open_directory(live) as collection:
        found = collection._collection.get(include=["embeddings"])
    return dict(zip(found["ids"], np.asarray(found["embeddings"]), strict=True))


def kill_randomly(home: Home, manager: JobManager, job_id: int, seed: int, kills: int, latest: float = 1.2) -> None:
    """Kill the job's worker, the daemon or both, so often, within ``latest`` seconds of a start; then let it end."""
    generator = random.Random(seed)
    killed = {"worker": 0, "daemon": 0, "both": 0}
    seen_runs = set()
    while sum(killed.values()) < kills:
        ensure_daemon(home)

        def started() -> int | None:
            job = manager.get_status(job_id)
            return job.pid if job.status is Status.RUNNING and job.pid else -1 if job.has_ended else None

        pid = wait_until(started, 30)
        if pid == -1:
            break
        # Anywhere: at the start, while the model loads, while pages are read, passages embedded, the copy published.
        time.sleep(generator.uniform(0.0, latest))
        job = manager.get_status(job_id)
        if job.pid is None:
            continue
        seen_runs.add(job.run_id)
        victim = generator.choices(("worker", "daemon", "both"), (6, 1, 2))[0]
        with contextlib.suppress(ProcessLookupError):
            if victim != "worker":
                os.kill(known(manager.get_daemon().pid), signal.SIGKILL)
            if victim != "daemon":
                os.kill(job.pid, signal.SIGKILL)
            killed[victim] += 1
        if victim != "worker":
            wait_until(lambda: not is_running(home))
    for _ in manager.follow([job_id], revive=True):
        pass
    job = manager.get_status(job_id)
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0)
    assert sum(killed.values()) >= kills - 2, killed
    assert len(seen_runs) > kills // 2


def run_to_end(calm: Home, monkeypatch: pytest.MonkeyPatch, job_type: str, source: str, **params: Any) -> None:
    """Run the job in a home of its own."""
    other = JobManager(calm)
    monkeypatch.setenv("KBJOBS_HOME", str(calm.path))
    try:
        undisturbed_id = other.submit(job_type, source, **params)
        for _ in other.follow([undisturbed_id], revive=True):
            pass
    finally:
        stop_daemon(calm, now=True, seconds=20)


def compare_homes(home: Home, calm: Home, source: str, least: int) -> None:
    """The disturbed home has the undisturbed one's vectors, each computed once, and nothing is left beside them."""
    disturbed, undisturbed = collection_vectors(home, source), collection_vectors(calm, source)
    assert disturbed.keys() == undisturbed.keys()
    assert len(disturbed) > least
    for name, vector in undisturbed.items():
        assert float(vector @ disturbed[name]) >= 0.9999
    # A vector row is written once for each text, however often its worker died: nothing was computed into
    # the ledger twice.
    ledger = Ledger(SourceFolder(home.sources, source).ledger)
    written = ledger.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'vectors'").fetchone()[0]
    kept = ledger.connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
    ledger.close()
    assert written == kept
    leftovers = {path.name for path in SourceFolder(home.sources, source).vectors.iterdir()}
    assert len(leftovers) == 1


@pytest.fixture
def calm(home: Home, tmp_path: Path) -> Home:
    """A second home, which nobody disturbs."""
    calm = Home(tmp_path / "calm")
    calm.prepare()
    calm.engines.symlink_to(home.engines.resolve())
    return calm


def test_a_few_random_kills_of_a_small_index_change_nothing(
    home: Home, half_indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1000")
    calm = copy_home(home, tmp_path / "calm")
    run_undisturbed(calm, "index_offline", {})
    manager = JobManager(home)
    kill_randomly(home, manager, manager.submit("index_offline", "x"), 25, 5, latest=0.8)
    assert verify(home, "x").ok
    stop_daemon(home, now=True, seconds=20)
    compare_homes(home, calm, "x", PAGES - 1)


@pytest.mark.full
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20, 20 + FACTOR))
def test_random_kills_change_nothing(
    home: Home, calm: Home, tmp_path: Path, python_docs: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1000")  # so many deaths within seconds are not what the cap is for
    pages = copy_pages(python_docs, tmp_path / "pages", 64)
    register(home, "docs", [pages])
    manager = JobManager(home)
    kill_randomly(home, manager, manager.submit("index_offline", "docs"), seed, KILLS)
    assert verify(home, "docs").ok
    stop_daemon(home, now=True, seconds=20)
    register(calm, "docs", [pages])
    run_to_end(calm, monkeypatch, "index_offline", "docs")
    compare_homes(home, calm, "docs", 400)


@pytest.mark.full
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(40, 40 + FACTOR))
def test_random_kills_of_zim_index_change_nothing(
    home: Home, calm: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("KBJOBS_MAX_DEATHS", "1000")
    text = "Water from a spring is led in pipes of wood to the house, past the mill and the smithy, number {0}. "
    page = "<html lang=en><title>Page {0}</title><p>" + text * 8 + "</p></html>"
    items = [(f"p{number}", f"Page {number}", "text/html", page.format(number)) for number in range(500)]
    zim = build_zim(tmp_path / "wiki.zim", items, Language="eng")
    manager = JobManager(home)
    kill_randomly(home, manager, manager.submit("zim_index", "wiki", path=str(zim)), seed, 30)
    assert verify(home, "wiki").ok
    stop_daemon(home, now=True, seconds=20)
    run_to_end(calm, monkeypatch, "zim_index", "wiki", path=str(zim))
    compare_homes(home, calm, "wiki", 400)
    for place in (home, calm):
        ledger = Ledger(SourceFolder(place.sources, "wiki").ledger)
        assert ledger.count_documents() == 500
        assert ledger.connection.execute("SELECT count(*) FROM metadata").fetchone()[0] == 500
        ledger.close()
