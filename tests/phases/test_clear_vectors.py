"""clear_vectors frees the disk; the ledger keeps what was paid for, unless it is told to purge it."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import PhaseResult
from kbjobs.errors import JobCancelled, MissingRequirementError, NotFoundError, UsageError
from kbjobs.phases import clear_vectors
from kbjobs.phases.clear_vectors import ClearVectorsParams
from kbjobs.phases.job_type import Params, PhaseRequest
from kbjobs.retrieval.hits import Query
from kbjobs.services.search import search_home
from kbjobs.services.sources import Verification, describe, rebuild, register, verify
from kbjobs.store import vector_clearing
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.vectors.collection_swap import WorkingCopy
from tests.conftest import Kbjobs, write_pages
from tests.phases.test_index_offline import context, index, ledger_vectors, titles

OTHER = "other-0123456789ab"  # a model of 1536 dimensions that the ledger knows


def clear(home: Home, is_stopping: Callable[[], bool] = lambda: False, **params: Any) -> PhaseResult:
    folder = SourceFolder(home.sources, "docs")
    plan = clear_vectors.plan(PhaseRequest(home, Settings(home), ClearVectorsParams(**params), folder))
    return clear_vectors.JOB_TYPE.run(context(home, "docs", is_stopping), plan.params)


def advice(home: Home, *earlier: str, **params: Any) -> list[str]:
    folder = SourceFolder(home.sources, "docs")
    plan = clear_vectors.plan(PhaseRequest(home, Settings(home), ClearVectorsParams(**params), folder))
    return clear_vectors.JOB_TYPE.advise(
        PhaseRequest(home, Settings(home), plan.params, folder, tuple((name, Params()) for name in earlier))
    )


def add_other_model(home: Home, vectors: int) -> Path:
    """Give the source another model with vectors and a collection's directory."""
    folder = SourceFolder(home.sources, "docs")
    ledger = Ledger(folder.ledger)
    model = ledger.model(OTHER, "text-embedding-3-small", 1536, ledger.profile("other"))
    vector = struct.pack("<1536f", *[1.0] * 1536)
    ledger.put_vectors(model, [(f"text-{number}", vector) for number in range(vectors)])
    ledger.close()
    live = folder.vectors / OTHER
    live.mkdir(parents=True)
    (live / "chroma.sqlite3").write_bytes(b"\1" * 50_000)
    return live


@pytest.fixture
def indexed(home: Home, tmp_path: Path, minilm: None) -> Path:
    """An indexed source of five pages; returns its folder of collections."""
    register(home, "docs", [write_pages(tmp_path / "pages", 5)])
    index(home)
    return SourceFolder(home.sources, "docs").vectors


def test_cleared_and_indexed_again_for_nothing(home: Home, indexed: Path) -> None:
    vectors = ledger_vectors(home)
    size = sum(file.stat().st_size for file in indexed.rglob("*") if file.is_file())
    result = clear(home)
    assert result.counts["freed_bytes"] > size / 2
    assert {name: value for name, value in result.counts.items() if name != "freed_bytes"} == {
        "collections": 1, "records": 5, "vectors_kept": 5, "vectors_deleted": 0, "dimension": 384,
    }  # fmt: skip
    assert "5 vectors stay in the ledger: indexing again embeds nothing" in result.summary
    assert list(indexed.iterdir()) == []
    with pytest.raises(NotFoundError, match="has no index yet"):
        search_home(home, Query("kettle", ("docs",), 5), [])
    found = verify(home, "docs")
    assert (found.ok, found.cleared) == (True, ("all-MiniLM-L6-v2",))
    assert describe(home, "docs").models[0].cleared
    again = clear(home)
    assert (again.counts["collections"], again.failed) == (0, 0)
    assert "no collection of dimension 384 to clear" in again.summary
    assert index(home).counts["embedded"] == 0
    assert len(titles(home, "kettle")) == 5
    assert ledger_vectors(home) == vectors
    # What was built again and is then lost is drift, not cleared.
    shutil.rmtree(indexed)
    assert not verify(home, "docs").ok


def test_a_cleared_collection_is_rebuilt_from_the_ledger(home: Home, indexed: Path) -> None:
    clear(home)
    assert [one.records for one in rebuild(home, "docs")] == [5]
    found = verify(home, "docs")
    assert (found.ok, found.cleared, found.checked) == (True, (), 5)


def test_purge_deletes_what_was_embedded_and_frees_the_file(home: Home, indexed: Path) -> None:
    live = add_other_model(home, 5_000)
    file = SourceFolder(home.sources, "docs").ledger
    before = file.stat().st_size
    result = clear(home, dimension=1536, purge=True)
    assert (result.counts["vectors_deleted"], result.counts["vectors_kept"]) == (5_000, 0)
    assert "deleted from the ledger too: indexing again embeds them anew" in result.summary
    assert file.stat().st_size < before - 25_000_000
    assert result.counts["freed_bytes"] >= before - file.stat().st_size
    assert not live.exists()
    assert (indexed / "x").parent.exists() and verify(home, "docs").ok
    assert [model.dimension for model in describe(home, "docs").models] == [384]
    assert index(home).counts["embedded"] == 0

    assert clear(home, purge=True).counts["vectors_deleted"] == 5
    assert verify(home, "docs") == Verification("docs", 0, (), ())
    assert clear(home, purge=True).summary.endswith("the ledger has no vectors to delete")
    assert index(home).counts["embedded"] == 5


def test_a_purge_that_is_stopped_goes_on(home: Home, indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_other_model(home, 30)
    monkeypatch.setattr(vector_clearing, "BATCH", 10)
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    other = next(row.id for row in ledger.models() if row.key == OTHER)
    with pytest.raises(JobCancelled):
        clear(home, lambda: ledger.count_vectors(other) <= 10, dimension=1536, purge=True)
    assert ledger.count_vectors(other) == 10
    ledger.close()
    assert verify(home, "docs").ok
    assert clear(home, dimension=1536, purge=True).counts["vectors_deleted"] == 10
    assert len(ledger_vectors(home)) == 5


def test_all_takes_what_no_model_names_and_follows_no_link(home: Home, indexed: Path, tmp_path: Path) -> None:
    add_other_model(home, 3)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (indexed / "vectors_768").mkdir()
    (indexed / "vectors_768" / "chroma.sqlite3").write_bytes(b"\1" * 10_000)
    (indexed / "link").symlink_to(outside)
    (indexed / "file").write_text("x")
    assert clear(home, dimension=768).counts["collections"] == 0
    result = clear(home, all=True)
    assert (result.counts["collections"], result.counts["dimension"]) == (5, None)
    assert list(indexed.iterdir()) == []
    assert (outside / "kept").exists()


def test_a_linked_collection_is_not_followed(home: Home, indexed: Path, tmp_path: Path) -> None:
    [live] = indexed.iterdir()
    elsewhere = tmp_path / "elsewhere"
    live.rename(elsewhere)
    live.symlink_to(elsewhere)
    clear(home)
    assert list(indexed.iterdir()) == []
    assert (elsewhere / "chroma.sqlite3").exists()


@pytest.mark.parametrize("left", [".building", ".copying", ".old", ".clearing"])
def test_what_a_kill_has_left_is_cleared_too(home: Home, indexed: Path, left: str) -> None:
    [live] = indexed.iterdir()
    shutil.copytree(live, live.with_name(live.name + left))
    size = sum(file.stat().st_size for file in live.rglob("*") if file.is_file())
    assert clear(home).counts["freed_bytes"] > 1.5 * size
    assert list(indexed.iterdir()) == []


def test_a_half_removed_collection_is_never_taken_for_one(home: Home, indexed: Path) -> None:
    [live] = indexed.iterdir()
    live.rename(live.with_name(live.name + ".clearing"))
    with pytest.raises(NotFoundError):
        search_home(home, Query("kettle", ("docs",), 5), [])
    assert index(home).counts["embedded"] == 0
    assert list(indexed.iterdir()) == [live]
    assert WorkingCopy(live).readable() == live


def test_the_plan_fills_in_the_dimension(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    folder = SourceFolder(home.sources, "docs")
    plan = clear_vectors.plan(PhaseRequest(home, Settings(home), ClearVectorsParams(), folder))
    assert (plan.params, plan.dimension) == (ClearVectorsParams(dimension=384), 384)
    assert clear_vectors.JOB_TYPE.plan(PhaseRequest(home, Settings(home), plan.params, folder)) == plan
    monkeypatch.setenv("KBJOBS_MODEL", "bge-large-en-v1.5")  # need not be on this machine
    assert clear_vectors.plan(PhaseRequest(home, Settings(home), ClearVectorsParams(), folder)).dimension == 1024
    monkeypatch.setenv("KBJOBS_MODEL", "no/such-model")
    with pytest.raises((NotFoundError, MissingRequirementError)) as caught:
        clear_vectors.plan(PhaseRequest(home, Settings(home), ClearVectorsParams(), folder))
    assert "--dimension" in caught.value.hint
    assert (
        clear_vectors.plan(PhaseRequest(home, Settings(home), ClearVectorsParams(all=True), folder)).dimension is None
    )
    with pytest.raises(UsageError, match="--all and --dimension"):
        clear_vectors.plan(PhaseRequest(home, Settings(home), ClearVectorsParams(all=True, dimension=384), folder))


def test_nothing_there_is_no_failure(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    assert "there was no collection of dimension 384" in kbjobs("run", "clear-vectors", "docs").stdout
    assert not SourceFolder(home.sources, "docs").ledger.exists()
    assert kbjobs("run", "clear-vectors", "docs", "--all", "--dimension", "384", check=2).stderr.startswith(
        "Error: --all"
    )


def test_advice(home: Home, indexed: Path) -> None:
    assert advice(home) == advice(home, all=True) == []
    assert advice(home, dimension=768) == ["source 'docs' has no vectors of dimension 768: nothing to clear"]
    assert advice(home, "index_offline", dimension=768) == []
    add_other_model(home, 12)
    assert advice(home, dimension=1536) == []
    assert advice(home, dimension=1536, purge=True) == ["12 vectors that cost money would be deleted"]
    assert advice(home, all=True, purge=True) == ["12 vectors that cost money would be deleted"]
    clear(home)
    assert advice(home) == ["source 'docs' has no vectors of dimension 384: nothing to clear"]
    assert advice(home, purge=True) == []
