"""The chain cloud_publish on a server that speaks Pinecone's API: whole, and killed in each of its phases."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.faults.test_crash_points import finish
from tests.phases.test_pinecone_sync import check_equal, make_online
from tests.servers.pinecone_server import PineconeServer


@pytest.mark.parametrize("point", [None, "pinecone.saved", "phase.recorded", "map.page_renamed"])
def test_it_runs_to_its_end(
    home: Home, tmp_path: Path, pinecone: PineconeServer, monkeypatch: pytest.MonkeyPatch, point: str | None
) -> None:
    folder = make_online(home, tmp_path, pages=20)
    make_online(home, tmp_path, pages=20, source="other")
    marker = tmp_path / "killed"
    if point is not None:
        monkeypatch.setenv(VARIABLE, f"{point}:{marker}")
    manager = JobManager(home)
    job = finish(manager, manager.submit("cloud_publish", "wiki"))
    assert (job.status, job.exit_code, job.attempt) == (Status.COMPLETED, 0, 2 if point else 1), job
    assert [phase.name for phase in job.phases] == ["pinecone_sync", "visualisation"]
    assert [phase.weight for phase in job.phases] == [80.0, 20.0]
    check_equal(pinecone, folder)
    page = (home.path / "visualisation" / "map.html").read_text()
    assert "wiki" in page and "other" in page
    stop_daemon(home, now=True, seconds=20)
