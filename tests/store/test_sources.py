"""Source ids and manifests."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kbjobs.errors import KbjobsError, NotFoundError, UnavailableError, UsageError
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


DAMAGED = {
    "empty": b"",
    "cut short": b"{",
    "no object": b"[]",
    "no paths": b"{}",
    "paths of a wrong type": b'{"paths": 3}',
    "one path for a list": b'{"paths": "/a"}',
    "no path": b'{"paths": []}',
    "a path of a wrong type": b'{"paths": [3]}',
    "an empty path": b'{"paths": [""]}',
    "a path out of the home": b'{"paths": ["sources/../../other"]}',
    "a path with a zero": b'{"paths": ["/a\\u0000b"]}',
    "a path no system has": b'{"paths": ["/a\\ud800"]}',
    "a name of a wrong type": b'{"paths": ["/a"], "name": ["x"]}',
    "a URL of a wrong type": b'{"paths": ["/a"], "base_url": 3}',
    "a zero": b"\0",
    "not UTF-8": b'{"paths": ["/\xff"]}',
    "too deep": b'{"paths": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_manifest_is_told_and_the_others_are_there(tmp_path: Path, text: bytes) -> None:
    folder = SourceFolder(tmp_path, "broken")
    folder.path.mkdir()
    folder.manifest.write_bytes(text)
    check_damaged(folder)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_a_damaged_manifest(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = SourceFolder(tmp_path, "broken")
    folder.path.mkdir()
    make(folder.manifest)
    check_damaged(folder)


def check_damaged(folder: SourceFolder) -> None:
    good = Source("wiki", ("/a",))
    SourceFolder(folder.path.parent, "wiki").write(good)
    with pytest.raises(UnavailableError, match="damaged"):
        folder.read()
    with pytest.raises(UnavailableError, match="damaged"):
        list_sources(folder.path.parent)
    damaged: dict[str, KbjobsError] = {}
    assert list_sources(folder.path.parent, damaged.__setitem__) == [good]
    assert list(damaged) == ["broken"]
    assert "damaged" in damaged["broken"].message


def test_paths_in_the_home_are_written_relative_to_it(tmp_path: Path) -> None:
    home, link = tmp_path / "home", tmp_path / "link"
    (home / "sources").mkdir(parents=True)
    link.symlink_to(home)
    paths = (str(home / "sources" / "wiki" / "pages" / "1" / "a"), str(link / "own"), "/elsewhere", str(tmp_path))
    folder = SourceFolder(link / "sources", "wiki")
    folder.write(Source("wiki", paths))
    written = json.loads(folder.manifest.read_text())["paths"]
    assert written == ["sources/wiki/pages/1/a", "own", "/elsewhere", str(tmp_path)]
    assert folder.read().paths == (str(link / written[0]), str(link / "own"), *paths[2:])
    assert SourceFolder(home / "sources", "wiki").read().paths == (paths[0], str(home / "own"), *paths[2:])


def test_an_absolute_path_of_another_home_is_that_of_this_one_where_the_file_is_here(tmp_path: Path) -> None:
    folder = SourceFolder(tmp_path / "home" / "sources", "wiki")
    (folder.pages / "1" / "a").mkdir(parents=True)
    old = "/old/home/sources/wiki/pages"
    listed = [old, f"{old}/1/a", f"{old}/1/missing", "/old/home/sources/other/pages/1/a"]
    folder.manifest.write_text(json.dumps({"paths": listed}))
    here = (str(folder.pages), str(folder.pages / "1" / "a"))
    before = folder.manifest.read_bytes()
    assert folder.read().paths == (*here, *listed[2:])
    assert folder.manifest.read_bytes() == before  # reading writes nothing
    folder.update_manifest()
    assert json.loads(folder.manifest.read_text())["paths"] == [
        "sources/wiki/pages", "sources/wiki/pages/1/a", *listed[2:],
    ]  # fmt: skip
    written = folder.manifest.stat().st_ino
    folder.update_manifest()
    assert folder.manifest.stat().st_ino == written  # once is enough


def test_strange_folders_are_no_sources(tmp_path: Path) -> None:
    (tmp_path / "NOT AN ID").mkdir()
    (tmp_path / "no-manifest").mkdir()
    (tmp_path / "file").touch()
    assert list_sources(tmp_path) == []
    assert list_sources(tmp_path / "missing") == []
