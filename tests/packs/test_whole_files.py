"""Large files of a pack from a remote store: written at their place as their parts come, once, and hashed once."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from obstore.store import LocalStore

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import UnavailableError
from kbjobs.object_storage.bucket import Content
from kbjobs.object_storage.remote import RemoteBucket
from kbjobs.packs.backup_parts import PIECE
from kbjobs.packs.damage import DamagedPackError
from kbjobs.packs.pack_download import fetch_pack
from kbjobs.packs.receiving import receive
from kbjobs.services.packs import build
from kbjobs.store.sources import SourceFolder

from .conftest import Forger

LARGE = 2 * PIECE + 1_000


class Silent:
    def report(self, *args: Any) -> None: ...

    def saved(self, steps: int) -> None: ...


class Counted(RemoteBucket):
    """A store that notes what was read of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__("s3://store", LocalStore(folder))
        self.fetched: list[str] = []

    def read(self, name: str, most: int) -> Content | None:
        self.fetched.append(name)
        return super().read(name, most)


def context_of(home: Home) -> Context:
    source = SourceFolder(home.sources, "wiki")
    return Context(home, Settings(home), source, 1, Silent(), lambda: False, logging.getLogger("test"))


@pytest.fixture
def here(tmp_path: Path) -> Home:
    home = Home(tmp_path / "here")
    home.prepare()
    return home


@pytest.fixture
def files(wiki: SourceFolder) -> dict[str, bytes]:
    """Large files in the source: two that are equal, one of equal parts, one that stands for itself."""
    one, other = os.urandom(LARGE), os.urandom(LARGE)
    files = {"a.zim": one, "b.zim": other, "c.zim": one, "zeros.zim": bytes(LARGE)}
    for name, content in files.items():
        (Path(wiki.read().paths[0]) / name).write_bytes(content)
    return files


@pytest.fixture
def store(home: Home, files: dict[str, bytes], tmp_path: Path) -> Counted:
    build(home, "wiki", tmp_path / "store", include_backup=True)
    return Counted(tmp_path / "store")


def install(home: Home, store: Counted) -> PhaseResult:
    return receive(context_of(home), store, None, True, None)


def fetch(home: Home, store: Counted) -> Path:
    """Fetch the pack; returns where it is."""
    (name,) = [entry.name for entry in store.list("packs/") if entry.name.endswith("/manifest.json")]
    fetch_pack(context_of(home), store, name, True, home.downloads / "wiki")
    return home.downloads / "wiki"


def assert_installed(home: Home, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (path,) = SourceFolder(home.sources, "wiki").pages.rglob(name)
        assert path.read_bytes() == content
        assert path.stat().st_nlink == 1 and path.stat().st_mode & 0o777 == 0o600
    assert not (home.downloads / "wiki").exists()


def test_they_are_written_once_and_moved(here: Home, store: Counted, files: dict[str, bytes]) -> None:
    folder = fetch(here, store)
    assert sorted(path.stat().st_size for path in (folder / "files").iterdir()) == [LARGE, LARGE]
    kept = sum(path.stat().st_size for path in (folder / "objects").iterdir())
    assert kept < PIECE + 2_000_000  # zeros.zim has a part twice, so its parts are kept as all others
    store.fetched.clear()
    inodes = {path.stat().st_ino for path in (folder / "files").iterdir()}
    install(here, store)
    assert not [name for name in store.fetched if name.startswith("objects/")]
    assert_installed(here, files)
    assert inodes <= {path.stat().st_ino for path in SourceFolder(here.sources, "wiki").pages.rglob("*.zim")}


def test_what_a_power_cut_damaged_is_fetched_again(here: Home, store: Counted, files: dict[str, bytes]) -> None:
    first, second = sorted((fetch(here, store) / "files").iterdir())
    with first.open("r+b") as file:
        file.seek(PIECE + 7)
        file.write(b"damaged")
    os.truncate(second, LARGE - 1)
    store.fetched.clear()
    install(here, store)
    assert len([name for name in store.fetched if name.startswith("objects/")]) == 2
    assert_installed(here, files)


def test_a_file_that_has_grown_is_not_taken_as_it_is(here: Home, store: Counted, files: dict[str, bytes]) -> None:
    for path in (fetch(here, store) / "files").iterdir():
        with path.open("ab") as file:
            file.write(b"more")
    install(here, store)
    assert_installed(here, files)


@pytest.mark.parametrize("code", [errno.EPERM, errno.EXDEV])
def test_without_hard_links_they_are_copied(
    here: Home, store: Counted, files: dict[str, bytes], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    install(here, store)
    assert_installed(here, files)


def test_they_need_their_room_once(
    here: Home, store: Counted, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(here.path)
    whole = sum(map(len, files.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=whole - 1))
    with pytest.raises(UnavailableError, match="MB are free"):
        fetch(here, store)
    assert store.fetched == [name for name in store.fetched if not name.startswith("objects/")]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=whole + PIECE + 4_000_000))
    fetch(here, store)
    # Now all is here but what is copied of it.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=whole - 2 * LARGE + 1_000_000))
    install(here, store)
    monkeypatch.undo()
    assert_installed(here, files)


def test_files_that_claim_the_same_hash_are_refused(
    here: Home, files: dict[str, bytes], forger: Forger, tmp_path: Path
) -> None:
    """The second would be written over the first."""

    def claim(records: list[dict[str, Any]]) -> None:
        by_name = {record["name"].rpartition("/")[2]: record for record in records}
        by_name["b.zim"]["sha256"] = by_name["a.zim"]["sha256"]

    forger.change(forger.values["backup"]["files"], claim)
    name = str(Path(forger.write()).relative_to(forger.store))
    bucket = Counted(forger.store)
    folder = here.downloads / "wiki"
    place = fetch_pack(context_of(here), bucket, name, True, folder)
    from kbjobs.packs.installing import install_pack
    from kbjobs.packs.pack_reading import Pack

    with Pack(place) as pack, pytest.raises(DamagedPackError, match="sha256 differs"):
        install_pack(pack, here.sources, include_backup=True)
    assert not SourceFolder(here.sources, "wiki").path.exists()
