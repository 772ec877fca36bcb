"""``kbjobs sources tags``: what is suggested is shown, taken over and rejected; the rest of the manifest stays."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ExitCode
from kbjobs.services.sources import register
from kbjobs.store.locks import lock_source
from kbjobs.store.sources import SourceFolder
from tests.commands.conftest import check_help
from tests.conftest import ROOT, Kbjobs, read_json, write_pages
from tests.phases.test_metadata import describe_pages

SUGGESTED = {
    "state": "s",
    "model": "m",
    "provider": "openai",
    "documents": 3,
    "tags": [
        {"tag": "water", "kind": "category", "score": None, "documents": 2,
         "evidence": [{"doc_id": "a", "title": "Boil\x1b[31m", "url": "", "score": None}]},
        {"tag": "rain barrels", "kind": "novel", "score": None, "documents": 2, "evidence": []},
        {"tag": "kettle", "kind": "term", "score": 0.1, "documents": 1, "evidence": []},
    ],
}  # fmt: skip


@pytest.fixture
def manifest(home: Home, tmp_path: Path) -> Path:
    """The manifest of a source with a tag of its own, three suggestions and what somebody else has put into it."""
    register(home, "docs", [write_pages(tmp_path / "pages", 3)])
    path = SourceFolder(home.sources, "docs").manifest
    path.write_text(json.dumps({**json.loads(path.read_text()), "tags": ["mine"], "curator": {"name": "Ann"}}))
    SourceFolder(home.sources, "docs").write_suggested_tags(SUGGESTED)
    return path


def names(listed: dict[str, Any]) -> list[str]:
    return [tag["tag"] for tag in listed["suggested_tags"]]


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "sources", "tags")


def test_tags_are_listed_with_what_speaks_for_them(manifest: Path, kbjobs: Kbjobs) -> None:
    before = manifest.read_bytes()
    shown = kbjobs("sources", "tags", "docs").stdout
    assert shown.splitlines()[0] == "own\tmine\t\t\t"
    assert "suggested\twater\tcategory\t2\tBoil" in shown and "\x1b" not in shown
    assert "suggested\train barrels\tnovel\t2\t" in shown
    listed = read_json(kbjobs("sources", "tags", "docs", "--json"))
    assert (listed["tags"], listed["suggested_tags"]) == (["mine"], SUGGESTED["tags"])
    assert (listed["accepted"], listed["rejected"], listed["rejected_tags"]) == ([], [], [])
    assert "suggested, new\train barrels" in kbjobs("sources", "show", "docs").stdout
    assert manifest.read_bytes() == before


def test_tags_are_accepted_and_rejected(manifest: Path, kbjobs: Kbjobs) -> None:
    before = json.loads(manifest.read_text())
    done = kbjobs("sources", "tags", "docs", "--accept", "water", "--accept", "Rain Barrels", "--reject", "kettle")
    assert done.stderr == "Source docs: 2 tags accepted, 1 rejected.\n"
    now = json.loads(manifest.read_text())
    assert (now["tags"], now["rejected_tags"]) == (["mine", "water", "rain barrels"], ["kettle"])
    assert now["suggested_tags"] == {**SUGGESTED, "tags": []}
    decided = {"tags", "rejected_tags", "suggested_tags"}
    assert {name: now[name] for name in now.keys() - decided} == {
        name: before[name] for name in before.keys() - decided
    }
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o600
    back = read_json(kbjobs("sources", "tags", "docs", "--accept", "kettle", "--reject", "water", "--json"))
    assert (back["accepted"], back["rejected"]) == (["kettle"], ["water"])
    assert back["tags"] == ["mine", "rain barrels", "kettle"]


def test_all_are_accepted_at_once(manifest: Path, kbjobs: Kbjobs) -> None:
    listed = read_json(kbjobs("sources", "tags", "docs", "--accept-all", "--reject", "kettle", "--json"))
    assert (listed["tags"], names(listed)) == (["mine", "water", "rain barrels"], [])


def test_the_last_tag_can_be_taken_back(manifest: Path, kbjobs: Kbjobs) -> None:
    listed = read_json(kbjobs("sources", "tags", "docs", "--reject", "mine", "--json"))
    assert (listed["tags"], listed["rejected_tags"]) == ([], ["mine"])
    assert "tags" not in json.loads(manifest.read_text())
    listed = read_json(kbjobs("sources", "tags", "docs", "--accept", "mine", "--json"))
    assert (listed["tags"], listed["rejected_tags"]) == (["mine"], [])
    assert read_json(kbjobs("sources", "show", "docs", "--json"))["tags"] == ["mine"]


def test_an_error_changes_nothing(home: Home, manifest: Path, kbjobs: Kbjobs) -> None:
    before = manifest.read_bytes()
    options = ("--accept", "rain barrels", "--accept", "watr")
    assert "Did you mean 'water'?" in kbjobs("sources", "tags", "docs", *options, check=ExitCode.NOT_FOUND).stderr
    kbjobs("sources", "tags", "docs", "--accept", "water", "--reject", "water", check=ExitCode.USAGE)
    assert "Did you mean docs?" in kbjobs("sources", "tags", "dosc", "--accept-all", check=ExitCode.NOT_FOUND).stderr
    with lock_source(SourceFolder(home.sources, "docs").lock, "docs", 1):
        kbjobs("sources", "tags", "docs", "--accept-all", check=ExitCode.CONFLICT)
        kbjobs("sources", "tags", "docs")
    assert manifest.read_bytes() == before


def test_a_source_without_tags_says_what_to_do(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    output = kbjobs("sources", "tags", "docs")
    assert (output.stdout, output.stderr) == ("", "The source has no tags. Next: kbjobs run suggest-tags docs\n")
    kbjobs("sources", "tags", "docs", "--accept-all")
    assert "suggested_tags" not in json.loads(SourceFolder(home.sources, "docs").manifest.read_text())


@pytest.mark.usefixtures("minilm")
def test_what_was_decided_is_not_suggested_again(home: Home, kbjobs: Kbjobs) -> None:
    register(home, "docs", [ROOT / "examples" / "sources" / "preparedness"])
    describe_pages(home)
    kbjobs("run", "suggest-tags", "docs", "--quiet")
    first = names(read_json(kbjobs("sources", "tags", "docs", "--json")))
    assert len(first) > 2
    kbjobs("sources", "tags", "docs", "--accept", first[0], "--reject", first[1])
    kbjobs("run", "suggest-tags", "docs", "--quiet", "--force")
    listed = read_json(kbjobs("sources", "tags", "docs", "--json"))
    assert (listed["tags"], listed["rejected_tags"]) == ([first[0]], [first[1]])
    assert names(listed) == first[2:]
