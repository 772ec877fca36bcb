"""What several types look at before they are queued: the advice on metadata, and on vectors that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.phases.job_type import Params, PhaseRequest
from kbjobs.phases.registry import job_type
from kbjobs.phases.source_checks import advise_metadata, has_metadata
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import write_pages
from tests.phases.test_index_offline import index as index_offline
from tests.phases.test_index_online import index as index_online
from tests.phases.test_metadata import describe_pages
from tests.servers.openai_server import OpenAIServer


def test_a_source_without_metadata(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    folder = SourceFolder(home.sources, "docs")
    missing = ["source 'docs' has no metadata; add the phase metadata before it"]
    assert advise_metadata(folder, ()) == missing
    assert not folder.ledger.exists()  # asking makes nothing
    Ledger(folder.ledger).close()
    assert advise_metadata(folder, ("scrape",)) == missing
    assert advise_metadata(folder, ("metadata",)) == []
    describe_pages(home)
    assert has_metadata(folder)
    assert advise_metadata(folder, ()) == []


def advice(home: Home, name: str, earlier: tuple[str, ...] = ("metadata",), **params: Any) -> list[str]:
    kind = job_type(name)
    folder = SourceFolder(home.sources, "docs")
    plan = kind.plan(PhaseRequest(home, Settings(home), kind.params(**params), folder))
    return kind.advise(
        PhaseRequest(home, Settings(home), plan.params, folder, tuple((name, Params()) for name in earlier))
    )


def test_advice_on_online_vectors(home: Home, tmp_path: Path, openai_api: OpenAIServer) -> None:
    pages = write_pages(tmp_path / "pages", 5)
    register(home, "docs", [pages])
    ledger = SourceFolder(home.sources, "docs").ledger
    assert "no metadata; add the phase metadata" in advice(home, "index_online", ())[0]
    assert advice(home, "index_online") == advice(home, "index_online", force=True) == []
    assert not ledger.exists()
    index_online(home, limit=2)
    assert "already has 2 online vectors" in advice(home, "index_online")[0]
    index_online(home)
    written = ledger.read_bytes()
    (said,) = advice(home, "index_online")
    assert "already has 5 online vectors" in said
    assert "unless documents changed" in said
    (said,) = advice(home, "index_online", force=True)
    assert "5 online vectors" in said
    assert "bought again" in said
    assert advice(home, "index_online", ("metadata", "clear_vectors")) == []
    assert advice(home, "index_online", dry_run=True) == []
    assert ledger.read_bytes() == written
    ledger.write_bytes(b"no database")
    for suffix in ("-wal", "-shm"):
        ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)
    assert advice(home, "index_online") == advice(home, "index_online", ()) == []


@pytest.mark.usefixtures("minilm")
def test_advice_on_local_vectors(home: Home, tmp_path: Path, openai_api: OpenAIServer) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 3)])
    index_online(home)
    assert advice(home, "index_offline") == []
    index_offline(home)
    assert "already has 3 local vectors of all-MiniLM-L6-v2" in advice(home, "index_offline")[0]
    assert "computed again" in advice(home, "index_offline", force=True)[0]
