"""The built-in chains, killed in and after each of their phases, on the embedded store and on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.chains.library import find_built_in
from kbjobs.config.home import Home
from kbjobs.daemon.launching import stop_daemon
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register, verify
from kbjobs.store.sources import SourceFolder
from kbjobs.store.transitions import Status
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import rest_full, write_pages
from tests.faults.test_crash_points import finish
from tests.phases.test_index_offline import ledger_vectors
from tests.servers.chroma_process import ChromaProcess
from tests.servers.openai_server import OpenAIServer

pytestmark = pytest.mark.usefixtures("minilm")
PAGES = 20  # one batch of each index
IN_PHASES = {
    "generate_offline": ("metadata.committed", "embed.committed", "tags.before_write"),
    "generate_source": ("metadata.committed", "embed.committed", "embed.committed", "tags.before_write"),
    "regenerate_source": (
        "metadata.committed",
        "clear.marked",
        "publish.done",
        "clear.marked",
        "publish.done",
        "tags.before_write",
    ),
}
"""A point in each phase. Of two alike the second is reached in the later phase: in the first its work is done once."""


@pytest.fixture(params=rest_full(["embedded", "server"], "embedded"))
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the collections lie."""
    if request.param == "embedded":
        yield request.param
        return
    with ChromaProcess(tmp_path / "chroma" / "data") as process:
        monkeypatch.setenv("KBJOBS_VECTORS_CHROMA", process.url)
        yield request.param


def wish(folder: Path, points: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Ask for a kill at each point, once; the files that will tell of them."""
    markers = [folder / f"killed-{number}" for number in range(len(points))]
    wishes = ",".join(f"{point}:{marker}" for point, marker in zip(points, markers, strict=True))
    monkeypatch.setenv(VARIABLE, wishes)
    return markers


@pytest.mark.parametrize("name", rest_full(IN_PHASES, "generate_source"))
def test_a_chain_killed_in_and_after_each_phase(
    home: Home, tmp_path: Path, openai_api: OpenAIServer, monkeypatch: pytest.MonkeyPatch, name: str, place: str
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", PAGES)])
    manager = JobManager(home)
    if name == "regenerate_source":  # there is something to build anew
        assert finish(manager, manager.submit("generate_source", "docs")).exit_code == 0
        stop_daemon(home, now=True, seconds=20)
    sold = len(openai_api.sold_texts)
    inside = IN_PHASES[name]
    assert len(inside) == find_built_in(name).read_text().count("[[phase]]")
    markers = wish(tmp_path, (*inside, *("phase.recorded",) * (len(inside) - 1)), monkeypatch)
    job = finish(manager, manager.submit(name, "docs"), seconds=180)
    assert [marker.exists() for marker in markers] == [True] * len(markers)
    assert (job.status, job.exit_code) == (Status.COMPLETED, 0), job
    assert job.attempt == 1 + len(markers)
    assert [phase.status for phase in job.phases] == ["completed"] * len(inside)
    if name != "generate_offline":  # no passage was bought twice, whatever was cleared
        texts = openai_api.sold_texts
        assert len(texts) == len(set(texts)) and (len(texts) > sold) == (name == "generate_source")
        assert verify(home, "docs").ok
    assert len(ledger_vectors(home, "docs")) > 0
    assert SourceFolder(home.sources, "docs").read().suggested_tags
    manager.close()
