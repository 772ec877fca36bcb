"""suggest_tags names what a source is about, with its evidence, and does not invent."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import PhaseResult
from kbjobs.errors import MissingRequirementError, UsageError
from kbjobs.phases import suggest_tags
from kbjobs.phases.job_type import Params, PhaseRequest
from kbjobs.phases.suggest_tags import SuggestTagsParams
from kbjobs.services.sources import SourceFields, register
from kbjobs.store.sources import SourceFolder
from kbjobs.tagging import local as tagging
from kbjobs.tagging.preparedness import CATEGORIES
from tests.conftest import MODEL, ROOT, Kbjobs, copy_pages, read_json, write_pages
from tests.phases.test_index_offline import context, index
from tests.phases.test_metadata import describe_pages

pytestmark = pytest.mark.usefixtures("minilm")

PREPAREDNESS = ROOT / "examples" / "sources" / "preparedness"
# What each of its folders is about, whoever asks.
EXPECTED = {
    "first-aid": {"first aid", "medicine"},
    "food": {"food preservation"},
    "power-and-radio": {"energy", "radio communication"},
    "shelter": {"shelter"},
    "water": {"water"},
}


def suggest(home: Home, **params: Any) -> PhaseResult:
    folder = SourceFolder(home.sources, "docs")
    plan = suggest_tags.plan(PhaseRequest(home, Settings(home), SuggestTagsParams(**params), folder))
    return suggest_tags.JOB_TYPE.run(context(home, "docs"), plan.params)


def advice(home: Home, *earlier: str, **params: Any) -> list[str]:
    folder = SourceFolder(home.sources, "docs")
    plan = suggest_tags.plan(PhaseRequest(home, Settings(home), SuggestTagsParams(**params), folder))
    return suggest_tags.JOB_TYPE.advise(
        PhaseRequest(home, Settings(home), plan.params, folder, tuple((name, Params()) for name in earlier))
    )


def suggested(home: Home, kind: str) -> dict[str, dict[str, Any]]:
    manifest = json.loads(SourceFolder(home.sources, "docs").manifest.read_text())
    return {tag["tag"]: tag for tag in manifest["suggested_tags"]["tags"] if tag["kind"] == kind}


def test_the_categories_are_distinct_and_well_described() -> None:
    assert len({category.tag for category in CATEGORIES}) == len(CATEGORIES) >= 12
    assert all(len(category.description.split()) >= 15 for category in CATEGORIES)


@pytest.mark.parametrize("prepare", [index, describe_pages])
def test_the_example_source_gets_the_tags_of_its_folders(home: Home, prepare: Any) -> None:
    register(home, "docs", [PREPAREDNESS], SourceFields(base_url="https://example.org/"))
    prepare(home)
    result = suggest(home)
    found = suggested(home, "category")
    assert set().union(*EXPECTED.values()) <= set(found)
    assert not set(found) & {"security", "navigation", "foraging and hunting", "agriculture"}
    for folder, tags in EXPECTED.items():
        for tag in tags:
            assert f"/{folder}/" in found[tag]["evidence"][0]["url"], tag
    for suggestion in found.values():
        scores = [one["score"] for one in suggestion["evidence"]]
        assert 1 <= len(scores) <= 3 and scores == sorted(scores, reverse=True)
        assert all(one["doc_id"] and one["title"] for one in suggestion["evidence"])
    terms = suggested(home, "term")
    assert {"wound", "boiling"} <= set(terms)
    assert not set(terms) & {"the", "and", "water"}
    assert result.counts["embedded"] == (0 if prepare is index else 19)
    assert result.counts["judged"] == 19


def test_nothing_is_invented_for_a_source_about_something_else(home: Home, tmp_path: Path, python_docs: Path) -> None:
    register(home, "docs", [copy_pages(python_docs, tmp_path / "pages", 60)])
    describe_pages(home)
    result = suggest(home)
    assert suggested(home, "category") == {}
    assert "no category of preparedness fits" in result.summary
    assert "asyncio" in suggested(home, "term")


def test_the_manifest_keeps_what_the_user_wrote(home: Home, kbjobs: Kbjobs) -> None:
    register(home, "docs", [PREPAREDNESS], SourceFields(name="Ours"))
    describe_pages(home)
    manifest = SourceFolder(home.sources, "docs").manifest
    written = {**json.loads(manifest.read_text()), "tags": ["mine", "é"], "curator": {"name": "Ann", "since": [1999]}}
    manifest.write_text(json.dumps(written))
    suggest(home)
    now = json.loads(manifest.read_text())
    assert {name: value for name, value in now.items() if name != "suggested_tags"} == written
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o600
    shown = kbjobs("sources", "show", "docs").stdout
    assert "tags\tmine, é" in shown and "suggested tags\t" in shown and "first aid" in shown
    listed = read_json(kbjobs("sources", "show", "docs", "--json"))
    assert (listed["tags"], listed["suggested_tags"]) == (["mine", "é"], now["suggested_tags"])


def test_an_unchanged_source_is_left_alone(home: Home, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", 3)
    register(home, "docs", [pages])
    assert "has no documents yet" in advice(home)[0]
    assert advice(home, "metadata") == []
    with pytest.raises(MissingRequirementError, match="no documents") as caught:
        suggest(home)
    assert "kbjobs run metadata docs" in caught.value.hint
    describe_pages(home)
    assert advice(home) == []
    suggest(home)
    manifest = SourceFolder(home.sources, "docs").manifest
    before = manifest.read_bytes()
    assert advice(home) == ["source 'docs' has suggestions for this state: nothing to do without --force"]
    assert advice(home, force=True) == advice(home, "index_offline") == []
    again = suggest(home)
    assert (again.counts["unchanged"], again.counts["judged"]) == (True, 0)
    assert "nothing has changed" in again.summary
    forced = suggest(home, force=True)
    assert (forced.counts["unchanged"], forced.counts["judged"]) == (False, 3)
    assert manifest.read_bytes() == before
    (pages / "new.html").write_text(
        "<html lang=en><title>Rain barrels</title><p>Store rain water in barrels to drink.</p>"
    )
    describe_pages(home)
    assert suggest(home).counts["judged"] == 4
    index(home)  # now there are vectors to judge by
    assert suggest(home).counts["embedded"] == 0


def test_without_metadata_it_says_so(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 2)])
    index(home)
    assert "has no metadata" in advice(home)[0]
    suggest(home)


def test_filtered_documents_are_left_out(home: Home) -> None:
    register(home, "docs", [PREPAREDNESS])
    index(home)
    describe_pages(home)
    pages = list(PREPAREDNESS.rglob("*.html"))
    assert suggest(home).counts["judged"] > len(pages)
    describe_pages(home, language_filter="fr")
    with pytest.raises(MissingRequirementError):
        suggest(home)


def test_many_documents_without_vectors_are_judged_by_a_sample(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tagging, "MAX_SAMPLE", 7)
    register(home, "docs", [write_pages(tmp_path / "pages", 40)])
    describe_pages(home)
    assert suggest(home).counts["embedded"] == 7


def test_hostile_text_gives_harmless_terms(home: Home, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    for number in range(3):
        (pages / f"p{number}.html").write_text(
            f"<title>Ev\u202eil\x1b[31m {number}</title><p>rm-rf $(reboot) \x07bell "
            + "a" * 5000
            + " 12345 ’; DROP TABLE jobs"
        )
    register(home, "docs", [pages])
    describe_pages(home)
    suggest(home)
    names = suggested(home, "term")
    assert names
    for name in names:
        assert name.isalnum() and 3 <= len(name) <= 30 and not name.isdigit()
    assert "\x1b" not in SourceFolder(home.sources, "docs").manifest.read_text()


def test_the_model_is_checked_and_filled_in(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    folder = SourceFolder(home.sources, "docs")
    plan = suggest_tags.plan(PhaseRequest(home, Settings(home), SuggestTagsParams(), folder))
    assert plan.params == SuggestTagsParams(model=MODEL)
    assert suggest_tags.JOB_TYPE.plan(PhaseRequest(home, Settings(home), plan.params, folder)) == plan
    with pytest.raises(MissingRequirementError, match="bge-large"):
        suggest_tags.plan(PhaseRequest(home, Settings(home), SuggestTagsParams(model="bge-large-en-v1.5"), folder))


def test_an_engine_that_cannot_run_the_model_is_refused_at_submit(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(home, "docs", [write_pages(tmp_path / "docs", 1)])
    monkeypatch.setenv("KBJOBS_ENGINE", "onnxruntime")
    with pytest.raises(UsageError, match="which ships no onnx"):
        suggest(home)
