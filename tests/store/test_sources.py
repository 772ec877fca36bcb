"""Source ids and manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kbjobs.errors import NotFoundError, UnavailableError, UsageError
from kbjobs.store.sources import Source, SourceFolder, check_source_id, list_sources


@pytest.mark.parametrize("name", ["a", "wiki", "7", "a.b-c_d", "x" * 63])
def test_good_ids(name: str) -> None:
    assert check_source_id(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "..",
        ".",
        "a/b",
        "-a",
        "a-",
        "a.",
        ".a",
        "A",
        "wïki",
        "a b",
        "a\n",
        "x" * 64,
        "con",
        "con.txt",
        "com1",
    ],
)
def test_bad_ids(name: str) -> None:
    with pytest.raises(UsageError):
        check_source_id(name)


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    source = Source("wiki", ("/a b/\udcff", "/c"), "Näme", "CC0", "https://e.org/", "2026-01-01T00:00:00Z")
    SourceFolder(tmp_path, "wiki").write(source)
    assert SourceFolder(tmp_path, "wiki").read() == source
    assert SourceFolder(tmp_path, "wiki").manifest.stat().st_mode & 0o777 == 0o600
    assert list_sources(tmp_path) == [source]


def test_writing_keeps_what_others_wrote(tmp_path: Path) -> None:
    folder = SourceFolder(tmp_path, "wiki")
    folder.write(Source("wiki", ("/a",)))
    assert "tags" not in json.loads(folder.manifest.read_text())
    by_hand = {**json.loads(folder.manifest.read_text()), "tags": ["mine"], "curator": {"name": "Ann"}, "id": "other"}
    folder.manifest.write_text(json.dumps(by_hand))
    source = folder.read()
    assert (source.id, source.tags, source.suggested_tags) == ("wiki", ("mine",), None)
    folder.write_suggested_tags({"tags": []})
    assert json.loads(folder.manifest.read_text()) == {**by_hand, "suggested_tags": {"tags": []}}
    folder.write(Source("wiki", ("/b",)))
    now = json.loads(folder.manifest.read_text())
    assert (now["paths"], now["tags"], now["curator"], now["suggested_tags"]) == (
        ["/b"], ["mine"], {"name": "Ann"}, {"tags": []},
    )  # fmt: skip
    assert folder.manifest.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("odd", [3, "water", {"a": 1}, None])
def test_odd_tags_are_no_damage(tmp_path: Path, odd: object) -> None:
    folder = SourceFolder(tmp_path, "wiki")
    folder.path.mkdir()
    folder.manifest.write_text(json.dumps({"paths": ["/a"], "tags": odd, "suggested_tags": [odd]}))
    assert (folder.read().tags, folder.read().suggested_tags) == ((), None)
    folder.write_suggested_tags({"tags": []})
    assert json.loads(folder.manifest.read_text())["tags"] == odd


def test_an_unknown_source_is_told_with_the_nearest(tmp_path: Path) -> None:
    SourceFolder(tmp_path, "wiki").write(Source("wiki", ("/a",)))
    with pytest.raises(NotFoundError) as caught:
        SourceFolder(tmp_path, "wikki").read()
    assert "Did you mean wiki?" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"paths": 3}', "\x00"])
def test_a_damaged_manifest_is_told(tmp_path: Path, text: str) -> None:
    folder = SourceFolder(tmp_path, "wiki")
    folder.path.mkdir()
    folder.manifest.write_text(text)
    with pytest.raises(UnavailableError, match="damaged"):
        folder.read()


def test_strange_folders_are_no_sources(tmp_path: Path) -> None:
    (tmp_path / "NOT AN ID").mkdir()
    (tmp_path / "no-manifest").mkdir()
    (tmp_path / "file").touch()
    assert list_sources(tmp_path) == []
    assert list_sources(tmp_path / "missing") == []
