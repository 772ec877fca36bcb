"""A kill at each named point, in client, daemon and worker; afterwards nothing is lost, doubled or left behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon, is_running
from kbjobs.daemon.processes import processes_of_run
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import Verification, register, verify
from kbjobs.store.history import list_attempts, list_jobs
from kbjobs.store.jobs import Job
from kbjobs.store.ledger import Ledger
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import rest_full, run_process, wait_until, write_pages
from tests.faults.conftest import PAGES, copy_home, run_undisturbed
from tests.faults.points import POINTS

pytestmark = [pytest.mark.usefixtures("minilm"), pytest.mark.processes]
CANCEL_ONLY = {"daemon.before_sigterm"}
CHAIN_ONLY = {"phase.before_record", "phase.recorded", "checkpoint.saved"}  # tests/faults/test_chain_kills.py
RECOVERY_ONLY = {"daemon.before_recovery", "daemon.recovered"}
# Points of the other job types, with the job that comes past them.
OTHER_TYPES: dict[str, tuple[str, dict[str, Any]]] = {
    "metadata.committed": ("metadata", {"language_filter": "fr"}),
    "metadata.linked": ("metadata", {"language_filter": "fr"}),
    "metadata.settled": ("metadata", {"language_filter": "fr"}),
    "metadata.marked": ("metadata", {"language_filter": "fr"}),
    "words.written": ("metadata", {}),
    "clear.marked": ("clear_vectors", {"all": True}),
    "clear.renamed": ("clear_vectors", {"all": True}),
    "clear.removed": ("clear_vectors", {"all": True}),
    "purge.committed": ("clear_vectors", {"all": True, "purge": True}),
    "purge.deleted": ("clear_vectors", {"all": True, "purge": True}),
    "purge.freed": ("clear_vectors", {"all": True, "purge": True}),
    "tags.before_write": ("suggest_tags", {}),
    "tags.written": ("suggest_tags", {}),
}


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
    assert verify(home, "x") == Verification("x", PAGES - 1, (), ())
    assert len(list(SourceFolder(home.sources, "x").vectors.iterdir())) == 1


SCRAPE = {point for point in POINTS if point.startswith("scrape.")}  # tests/faults/test_scrape_kills.py
DELETE = {point for point in POINTS if point.startswith(("delete.", "source."))}  # tests/faults/test_delete_kills.py
ONLINE = {"tags.answered"}  # tests/phases/test_suggest_tags_online.py
BATCHES = {point for point in POINTS if point.startswith("batch.")}  # tests/phases/test_batch_api_kills.py
COMPACT = {point for point in POINTS if point.startswith("compact.")}  # tests/indexing/test_compact.py
SERVER = {point for point in POINTS if point.startswith("server.")}  # tests/faults/test_chroma_kills.py
# tests/packs, tests/phases/test_upload.py
PACKS = {point for point in POINTS if point.startswith(("pack.", "install.", "upload.", "withdraw."))}
# tests/downloads/test_file_download.py, tests/phases/test_model_download.py
DOWNLOADS = {point for point in POINTS if point.startswith("download.")}
MAPS = {point for point in POINTS if point.startswith("map.")}  # tests/phases/test_visualisation.py
PINECONE = {point for point in POINTS if point.startswith("pinecone.")}  # tests/phases/test_pinecone_sync.py
# tests/phases/test_language_download.py
LANGUAGES = {point for point in POINTS if point.startswith("language.")}
NIGHT = {point for point in POINTS if point.startswith(("pause.", "finish."))}  # tests/faults/test_night_kills.py
SHARED = {"worker.claimed_next"}  # tests/daemon/test_shared_workers.py
HOUSEKEEPING = {"housekeeping.batch"}  # tests/daemon/test_housekeeping.py
ELSEWHERE = (
    CANCEL_ONLY
    | HOUSEKEEPING
    | SHARED
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

EVERYDAY = (
    "submit.committed", "daemon.claimed", "daemon.recovered", "worker.source_locked", "worker.before_finish",
    "embed.committed", "swap.between_renames",
)  # fmt: skip


@pytest.mark.parametrize("point", rest_full((point for point in POINTS if point not in ELSEWHERE), *EVERYDAY))
def test_a_kill_at_each_point(
    home: Home, half_indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """There is an index, so that the run copies it, changes it, deletes from it and swaps."""
    (half_indexed / "page0.html").unlink()
    manager = JobManager(home)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    submitted = run_process("run", "index-offline", "x", "--detach")
    if point == "submit.committed":
        assert submitted.returncode == -9
    elif point != "daemon.described":  # there the client is told that its daemon died
        assert submitted.returncode == 0, submitted.stderr
    job_id = 2
    if point in RECOVERY_ONLY:
        job = wait_until(lambda: (job := manager.get_status(job_id)).pid and job, 30)
        os.kill(job.pid, 9)
    ended = finish(manager, job_id)
    wait_until(marker.exists, 5)  # the last point is reached when the end is on record
    assert (ended.status, ended.exit_code) == (Status.COMPLETED, 0), ended
    assert ended.attempt <= 3
    check_invariants(home, manager)


def contents(home: Home, source: str) -> dict[str, object]:
    """All that a source's ledger, manifest and folder of collections say, whatever their row ids and their home."""
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
    links = [(path, url.rpartition("/pages/")[2], target) for path, url, target in found["links"]]  # type: ignore[attr-defined]
    found["links"] = links
    tags = (folder.read().suggested_tags or {}).get("tags", [])
    found["tags"] = [(tag["tag"], tag["score"], tag["documents"]) for tag in tags]
    found["collections"] = sorted(path.name for path in folder.vectors.glob("*"))
    return found


@pytest.mark.parametrize(
    "point",
    rest_full(OTHER_TYPES, "metadata.committed", "clear.renamed", "tags.written"),
)
def test_a_kill_in_the_other_types(
    home: Home, half_indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """One of two equal homes is worked on undisturbed, the other with a kill: the same is left of both."""
    french = "<html lang=fr><title>Eau</title><p><a href='page1.html'>une</a> page d'eau.</p>"
    (half_indexed / "fr.html").write_text(french)
    job_type, params = OTHER_TYPES[point]
    if point == "words.written":  # a source without an index
        shutil.rmtree(home.sources / "x")
        register(home, "x", [half_indexed])
    if job_type == "suggest_tags":
        run_undisturbed(home, "metadata", {})
    calm = copy_home(home, tmp_path / "calm")
    run_undisturbed(calm, job_type, params)
    marker = tmp_path / "killed"
    monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    manager = JobManager(home)
    ended = finish(manager, manager.submit(job_type, "x", **params))
    assert marker.exists(), "the point was never reached"
    assert (ended.exit_code, ended.attempt) == (0, 2)
    assert contents(home, "x") == contents(calm, "x")
    assert verify(home, "x") == verify(calm, "x")


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
