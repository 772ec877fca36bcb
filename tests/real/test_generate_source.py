"""generate_source on real pages, with kills: what was bought and embedded is not bought and embedded again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.daemon.launching import ensure_daemon, is_running
from kbjobs.embedding.openai_embedder import REQUEST_TEXTS
from kbjobs.retrieval.hits import Query
from kbjobs.services.jobs import JobManager
from kbjobs.services.search import search_home
from kbjobs.services.sources import describe, register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from tests.conftest import known, wait_ended, wait_until
from tests.phases.test_index_offline import vectors_written
from tests.servers.openai_server import OpenAIServer, Reply

pytestmark = [pytest.mark.usefixtures("minilm"), pytest.mark.full]
PAGES = 100


@pytest.fixture
def manager(home: Home, tmp_path: Path, python_docs: Path) -> Iterator[JobManager]:
    root = python_docs.resolve()
    pages = (file for file in find_files([root]) if isinstance(file, FoundFile) and file.path.suffix == ".html")
    for page in islice(pages, PAGES):
        target = tmp_path / "pages" / page.path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(page.path, target)
    register(home, "docs", [tmp_path / "pages"])
    opened = JobManager(home)
    yield opened
    opened.close()


def vectors(home: Home, dimension: int) -> int:
    """How many vectors of that dimension the ledger holds."""
    path = SourceFolder(home.sources, "docs").ledger
    if not path.exists():
        return 0
    with Ledger(path) as ledger:
        return sum(ledger.count_vectors(row.id) for row in ledger.models() if row.dimension == dimension)


def kill(manager: JobManager, job_id: int, daemon: bool = False) -> None:
    """SIGKILL to the worker, and to the daemon where asked for; returns once the next attempt runs."""
    job = manager.get_status(job_id)
    assert job.pid is not None
    if daemon:
        os.kill(known(manager.get_daemon().pid), 9)
    os.kill(job.pid, 9)
    if daemon:
        wait_until(lambda: not is_running(manager.home))
        ensure_daemon(manager.home)
    wait_until(lambda: manager.get_status(job_id).attempt > job.attempt)


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_a_chain_that_is_killed_buys_no_more_than_was_on_its_way(manager: JobManager, openai_api: OpenAIServer) -> None:
    home = manager.home
    # The first answer of an attempt is quick, the others take their time: they are on their way at the kill.
    openai_api.script = [Reply(), *([Reply(delay=1.0)] * 3), Reply(), *([Reply(delay=1.0)] * 2)]
    job_id = manager.submit_job("generate_source", "docs", {}).id
    in_flight, had = 0, 0
    for with_daemon in (False, True):
        wait_until(lambda before=had: vectors(home, 1536) > before, 60)
        assert openai_api.waiting > 0
        in_flight += openai_api.waiting
        kill(manager, job_id, with_daemon)
        had = vectors(home, 1536)
    wait_until(lambda: vectors(home, 384) > 100, 120)
    kill(manager, job_id)

    job = wait_ended(manager, job_id, 400)
    assert (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 4)
    assert [phase.status for phase in job.phases] == ["completed"] * 4
    passages = known(job.phases[1].result)["chunks"]
    assert vectors(home, 1536) == len(set(openai_api.sold_texts)) == passages
    assert passages <= len(openai_api.sold_texts) <= passages + in_flight * REQUEST_TEXTS
    local = known(job.phases[2].result)
    assert local["embedded"] == vectors(home, 384)  # of all attempts
    assert vectors_written(home) == vectors(home, 1536) + vectors(home, 384)  # none was written twice
    assert verify(home, "docs").ok
    assert describe(home, "docs").documents == PAGES
    hits = search_home(home, Query("how is memory allocated", ("docs",), 3, "all-MiniLM-L6-v2"), [])
    assert "memory" in hits[0].text.lower()
