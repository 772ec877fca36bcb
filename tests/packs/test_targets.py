"""Where packs are written: a kill leaves no half pack, a full disk is told, and nothing is written twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.errors import NotFoundError, UnavailableError
from kbjobs.packs.inspecting import verify_pack
from kbjobs.packs.pack_building import PackBuilder
from kbjobs.packs.pack_reading import open_pack
from kbjobs.packs.targets import FileTarget, write_pack
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import Kbjobs, fill_disk, read_json, rest_full
from tests.packs.conftest import build, place_of
from tests.packs.sources import make_source

POINTS = ("pack.part_written", "pack.before_manifest", "pack.published")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", rest_full(["store", "wiki.kbpack"], "wiki.kbpack"))
def test_a_kill_leaves_no_half_pack(
    wiki: SourceFolder, tmp_path: Path, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch, point: str, name: str
) -> None:
    target = tmp_path / name
    monkeypatch.setenv(VARIABLE, f"{point}:{tmp_path / 'killed'}")
    kbjobs("pack", "build", "wiki", target, "--include-backup", check=-9)
    is_there = target.exists() if name != "store" else any(target.glob("packs/*/*/manifest.json"))
    assert is_there == (point == "pack.published")
    again = read_json(kbjobs("pack", "build", "wiki", target, "--include-backup", "--json"))
    if name == "store":
        had = {"pack.part_written": 1, "pack.before_manifest": again["parts"], "pack.published": again["parts"]}
        assert again["new_parts"] == again["parts"] - had[point]
        target = next(target.glob("packs/*/*/manifest.json"))
    with open_pack(str(target)) as pack:
        verify_pack(pack)
        assert pack.version == again["version"]
    hidden = [path.name for path in tmp_path.rglob(".*") if "home" not in path.parts]
    assert set(hidden) <= {".catalogue.json.lock"}


@pytest.mark.parametrize("name", ["store", "wiki.kbpack"])
def test_a_full_disk_is_told_and_what_was_there_stays(
    small_disk: Path, tmp_path: Path, home: Home, kbjobs: Kbjobs, name: str
) -> None:
    folder = make_source(home, tmp_path)
    target = small_disk / name
    kbjobs("pack", "build", "wiki", target)
    before = {path: path.read_bytes() for path in small_disk.rglob("*") if path.is_file()}
    (tmp_path / "pages" / "large.pdf").write_bytes(os.urandom(20 << 20))
    filler = fill_disk(small_disk, 12_000_000)
    result = kbjobs("pack", "build", "wiki", target, "--include-backup", check=7)
    assert f"the disk that holds {small_disk}" in result.stderr
    assert "is full" in result.stderr
    filler.unlink()
    assert {path: path.read_bytes() for path in before} == before
    kbjobs("pack", "build", "wiki", target, "--include-backup")
    places = [target] if name != "store" else list(target.glob("packs/*/*/manifest.json"))
    assert len(places) == (1 if name != "store" else 2)
    for place in places:
        with open_pack(str(place)) as pack:
            verify_pack(pack)
    assert folder.read().id == "wiki"


def test_what_cannot_be_written(wiki: SourceFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError, match="cannot write"):
        build(wiki, tmp_path / "file")
    with pytest.raises(UnavailableError, match="cannot write"), FileTarget(tmp_path / "none" / "x.kbpack"):
        pass


def test_files_are_private(wiki: SourceFolder, tmp_path: Path) -> None:
    build(wiki, tmp_path / "store")
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "store").rglob("*")}
    assert modes == {0o600, 0o700}


def test_an_error_leaves_nothing_of_the_file(wiki: SourceFolder, tmp_path: Path) -> None:
    with Ledger(wiki.ledger) as ledger:
        ledger.connection.execute("UPDATE vectors SET vector = zeroblob(32)")
    target = tmp_path / "wiki.kbpack"
    target.write_text("an earlier one")
    with PackBuilder(wiki) as builder, FileTarget(target) as file, pytest.raises(UnavailableError):
        write_pack(builder, file)
    assert target.read_text() == "an earlier one"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_several_packs_share_a_store(home: Home, tmp_path: Path) -> None:
    first = make_source(home, tmp_path / "a", "first")
    second = make_source(home, tmp_path / "b", "second")
    written = [build(folder, tmp_path / "store", backup) for folder in (first, second) for backup in (False, True)]
    assert len({one.version for one in written}) == 4
    for one in written:
        with open_pack(place_of(tmp_path / "store", one)) as pack:
            verify_pack(pack)
    files = sum(path.is_file() for path in (tmp_path / "store" / "objects").iterdir())
    assert files == sum(one.new_parts for one in written) < sum(one.parts for one in written)


def test_a_source_that_is_not_there(kbjobs: Kbjobs, tmp_path: Path, wiki: SourceFolder) -> None:
    assert os.environ[HOME_VARIABLE]
    assert "Did you mean wiki?" in kbjobs("pack", "build", "wikki", tmp_path / "x.kbpack", check=4).stderr
    assert not (tmp_path / "x.kbpack").exists()
    with pytest.raises(NotFoundError):
        open_pack(str(tmp_path / "x.kbpack"))
