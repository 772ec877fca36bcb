"""A kill at each named point, in client, daemon and worker; afterwards nothing is lost, doubled or left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kbjobs.api import JobManager
from kbjobs.crashpoints import POINTS, VARIABLE
from kbjobs.daemon.launching import ensure_daemon, is_running
from kbjobs.daemon.processes import processes_of_run
from kbjobs.settings import Home
from kbjobs.sources import Verification, register, verify
from kbjobs.store.history import list_attempts, list_jobs
from kbjobs.store.jobs import Job
from kbjobs.store.ledger import Ledger
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from tests.conftest import ROOT, known, wait_until, write_pages

pytestmark = pytest.mark.usefixtures("minilm")
CANCEL_ONLY = {"daemon.before_sigterm"}
CHAIN_ONLY = {"phase.before_record", "phase.recorded", "checkpoint.saved"}  # tests/faults/test_chain_kills.py
RECOVERY_ONLY = {"daemon.before_recovery", "daemon.recovered"}
# Points of the other job types, with the command that comes past them.
OTHER_TYPES = {
    "metadata.committed": ("metadata", "--language-filter", "fr"),
    "metadata.linked": ("metadata", "--language-filter", "fr"),
    "metadata.settled": ("metadata", "--language-filter", "fr"),
    "metadata.marked": ("metadata", "--language-filter", "fr"),
    "words.written": ("metadata",),
    "clear.marked": ("clear-vectors",),
    "clear.renamed": ("clear-vectors",),
    "clear.removed": ("clear-vectors",),
    "purge.committed": ("clear-vectors", "--purge"),
    "purge.deleted": ("clear-vectors", "--purge"),
    "purge.freed": ("clear-vectors", "--purge"),
    "tags.before_write": ("suggest-tags",),
    "tags.written": ("suggest-tags",),
}


def test_every_point_in_the_code_is_in_the_list() -> None:
    found = set()
    for path in (ROOT / "kbjobs").rglob("*.py"):
        found.update(re.findall(r'crash_point\("([^"]+)"\)', path.read_text()))
    assert found == set(POINTS)


def finish(manager: JobManager, job_id: int, seconds: float = 60) -> Job:
    """Follow the job to its end, starting a daemon whenever none runs."""

    def ended() -> Job | None:
        if not is_running(manager.home):
            ensure_daemon(manager.home)
        job = manager.get_status(job_id)
        return job if job.has_ended else None

    job: Job = wait_until(ended, seconds)
    return job


def check_invariants(home: Home, manager: JobManager) -> None:
    """Nothing is locked, nothing lives on, every attempt has an outcome, no row stands twice."""
    queue = Queue(home.state_file)
    execute = queue.connection.execute
    assert execute("SELECT count(*) FROM locks").fetchone()[0] == 0
    assert execute("SELECT count(*) FROM jobs WHERE status IN ('pending', 'running')").fetchone()[0] == 0
    assert execute("SELECT count(*) FROM attempts WHERE outcome IS NULL").fetchone()[0] == 0
    for job in list_jobs(queue):
        outcomes = [attempt.outcome for attempt in list_attempts(queue, job.id)]
        assert len(outcomes) == job.attempt
        assert None not in outcomes
    runs = [row[0] for row in execute("SELECT run_id FROM attempts")]
    assert len(runs) == len(set(runs))
    queue.close()
    for run in runs:
        wait_until(lambda run=run: not processes_of_run(run))
    wait_until(lambda: not list(home.daemon_lock.parent.glob("run-*.lock")))
    ledger = Ledger(SourceFolder(home.sources, "x").ledger)
    written = ledger.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'vectors'").fetchone()[0]
    assert written == ledger.connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
    ledger.close()
    assert verify(home, "x") == Verification("x", 201, (), ())
    assert len(list(SourceFolder(home.sources, "x").vectors.iterdir())) == 1


SCRAPE = {point for point in POINTS if point.startswith("scrape.")}  # tests/faults/test_scrape_kills.py
DELETE = {point for point in POINTS if point.startswith(("delete.", "source."))}  # tests/faults/test_delete_kills.py
ONLINE = {"tags.answered"}  # tests/phases/test_suggest_tags_online.py
BATCHES = {point for point in POINTS if point.startswith("batch.")}  # tests/phases/test_batch_api_kills.py
COMPACT = {point for point in POINTS if point.startswith("compact.")}  # tests/indexing/test_compact.py
SERVER = {point for point in POINTS if point.startswith("server.")}  # tests/faults/test_chroma_kills.py
# tests/packs, tests/phases/test_upload.py
PACKS = {point for point in POINTS if point.startswith(("pack.", "install.", "upload.", "withdraw."))}
# tests/downloads/test_fetching.py, tests/phases/test_model_download.py
DOWNLOADS = {point for point in POINTS if point.startswith("download.")}
MAPS = {point for point in POINTS if point.startswith("map.")}  # tests/phases/test_visualisation.py
PINECONE = {point for point in POINTS if point.startswith("pinecone.")}  # tests/phases/test_pinecone_sync.py
# tests/phases/test_language_download.py
LANGUAGES = {point for point in POINTS if point.startswith("language.")}
NIGHT = {point for point in POINTS if point.startswith(("pause.", "finish."))}  # tests/faults/test_night_kills.py
ELSEWHERE = (
    CANCEL_ONLY
    | NIGHT
    | CHAIN_ONLY
    | SCRAPE
    | DELETE
    | ONLINE
    | BATCHES
    | COMPACT
    | SERVER
    | PACKS
    | PINECONE
    | MAPS
    | DOWNLOADS
    | LANGUAGES
    | OTHER_TYPES.keys()
)


@pytest.mark.parametrize("point", [point for point in POINTS if point not in ELSEWHERE])
def test_a_kill_at_each_point(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    pages = write_pages(tmp_path / "pages", 202)
    register(home, "x", [pages])
    manager = JobManager(home)
    # An index that exists, so that the next run copies it, changes it, deletes from it and swaps.
    first = manager.submit("index_offline", "x", limit=20)
    assert finish(manager, first).exit_code == 0
    (pages / "page0.html").unlink()
    os.kill(known(manager.get_daemon().pid), 9)
    wait_until(lambda: not is_running(home))

    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    command = [sys.executable, "-m", "kbjobs", "run", "index-offline", "x", "--detach"]
    submitted = subprocess.run(command, capture_output=True, text=True, check=False)
    if point == "submit.committed":
        assert submitted.returncode == -9
    elif point != "daemon.described":  # there the client is told that its daemon died
        assert submitted.returncode == 0, submitted.stderr
    job_id = first + 1
    if point in RECOVERY_ONLY:
        job = wait_until(lambda: (job := manager.get_status(job_id)).pid and job, 30)
        os.kill(job.pid, 9)
    ended = finish(manager, job_id)
    assert marker.exists(), "the point was never reached"
    assert (ended.status, ended.exit_code) == (Status.COMPLETED, 0), ended
    assert ended.attempt <= 3
    check_invariants(home, manager)


def contents(home: Home, source: str) -> dict[str, object]:
    """All that a source's ledger, manifest and folder of collections say, whatever their row ids."""
    folder = SourceFolder(home.sources, source)
    ledger = Ledger(folder.ledger)
    execute = ledger.connection.execute
    found: dict[str, object] = {
        "documents": execute("SELECT path, title, content_hash, filtered FROM documents ORDER BY path").fetchall(),
        "metadata": execute(
            "SELECT path, m.language, snippet, headings FROM metadata m JOIN documents USING (doc_id) ORDER BY path"
        ).fetchall(),
        "links": execute(
            "SELECT d.path, l.url, t.path FROM links l JOIN documents d USING (doc_id)"
            " LEFT JOIN documents t ON t.doc_id = l.target ORDER BY 1, 2"
        ).fetchall(),
        "vectors": execute("SELECT text_hash FROM vectors ORDER BY 1").fetchall(),
        "models": execute("SELECT name, cleared FROM models").fetchall(),
    }
    found = {name: [tuple(row) for row in rows] for name, rows in found.items()}  # type: ignore[attr-defined]
    ledger.close()
    tags = (folder.read().suggested_tags or {}).get("tags", [])
    found["tags"] = [(tag["tag"], tag["score"], tag["documents"]) for tag in tags]
    found["collections"] = sorted(path.name for path in folder.vectors.glob("*"))
    return found


@pytest.mark.parametrize("point", OTHER_TYPES)
def test_a_kill_in_the_other_types(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """One source is worked on undisturbed, another of the same pages with a kill: the same is left of both."""
    pages = write_pages(tmp_path / "pages", 40)
    (pages / "fr.html").write_text("<html lang=fr><title>Eau</title><p><a href='page1.html'>une</a> page d'eau.</p>")
    name, *options = OTHER_TYPES[point]
    manager = JobManager(home)
    for source in ("calm", "x"):
        register(home, source, [pages])
        if name == "clear-vectors":
            assert finish(manager, manager.submit("index_offline", source)).exit_code == 0
        elif name == "suggest-tags":
            assert finish(manager, manager.submit("metadata", source)).exit_code == 0
    run = [sys.executable, "-m", "kbjobs", "run", name]
    subprocess.run([*run, "calm", *options], capture_output=True, check=True)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    subprocess.run([sys.executable, "-m", "kbjobs", "daemon", "restart"], capture_output=True, check=True)
    ended = subprocess.run([*run, "x", *options], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert marker.exists(), "the point was never reached"
    assert manager.get_job_history(1)[0].attempt == 2
    left = contents(home, "x")
    assert left == contents(home, "calm")
    assert verify(home, "x").ok


def test_a_kill_between_the_wish_to_cancel_and_the_signal(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon dies with the wish recorded; the next one must not revive the job."""
    register(home, "x", [write_pages(tmp_path / "pages", 3000)])
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"daemon.before_sigterm:{marker}")
    manager = JobManager(home)
    job_id = manager.submit("index_offline", "x")
    wait_until(lambda: manager.get_status(job_id).pid, 30)
    os.kill(manager.get_status(job_id).pid or 0, 19)  # SIGSTOP: the worker itself does not see the wish
    manager.cancel(job_id)
    wait_until(marker.exists)
    os.kill(manager.get_status(job_id).pid or 0, 9)
    ended = finish(manager, job_id)
    assert ended.status is Status.CANCELLED
    assert ended.attempt == 1
