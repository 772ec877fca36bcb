"""A home that was moved or restored elsewhere: the same documents, nothing embedded again, no word of the old one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.daemon.launching import is_running, stop_daemon
from kbjobs.services.backup import restore
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs, read_json, write_pages

pytestmark = pytest.mark.usefixtures("minilm")


@pytest.fixture
def new_home(tmp_path: Path, engines: Path) -> Iterator[Home]:
    """The place to move to; a daemon there is stopped at the end."""
    home = Home(tmp_path / "new" / "home")
    home.path.parent.mkdir()
    yield home
    if is_running(home):
        stop_daemon(home, now=True, seconds=30)


def index(kbjobs: Kbjobs) -> dict[str, Any]:
    last = kbjobs("run", "index-offline", "x", "--json").stdout.splitlines()[-1]
    return json.loads(last)["job"]["result"]


def documents(home: Home) -> list[tuple[str, str]]:
    ledger = Ledger(SourceFolder(home.sources, "x").ledger)
    try:
        return ledger.document_paths()
    finally:
        ledger.close()


def write_old_manifest(home: Home) -> None:
    """The manifest as version 0.1.0 wrote it: every path absolute."""
    folder = SourceFolder(home.sources, "x")
    values = json.loads(folder.manifest.read_text())
    values["paths"] = [str(home.path / path) for path in values["paths"]]
    folder.manifest.write_text(json.dumps(values))


def check_moved(kbjobs: Kbjobs, home: Home, before: list[tuple[str, str]]) -> None:
    result = index(kbjobs)
    assert (result["embedded"], result["documents"], result["deleted"], result["failed"]) == (0, 3, 0, 0)
    assert documents(home) == before
    hits = read_json(kbjobs("search", "x", "water", "--json"))
    pages = SourceFolder(home.sources, "x").pages.resolve()
    assert {hit["url"] for hit in hits} == {page.as_uri() for page in pages.rglob("*.html")}
    paths = json.loads(SourceFolder(home.sources, "x").manifest.read_text())["paths"]
    assert paths == ["sources/x/pages/1/pages", "sources/x/pages/2/pages"]
    assert read_json(kbjobs("sources", "show", "x", "--json"))["paths"] == [str(home.path / path) for path in paths]


@pytest.fixture
def before(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> list[tuple[str, str]]:
    """A copied source of two folders of one name, indexed, whose originals are gone; gives its documents."""
    roots = [write_pages(tmp_path / "a" / "pages", 2), write_pages(tmp_path / "b" / "pages", 1, "The stars shine")]
    for page in [page for root in roots for page in root.iterdir()]:
        os.utime(page, (1e9, 1e9))  # settled: not read again as long as it is as it was
    register(home, "x", roots, copy=True)
    assert index(kbjobs)["embedded"] == 3
    kbjobs("daemon", "stop")
    for root in roots:
        shutil.rmtree(root)
    return documents(home)


@pytest.mark.parametrize("version", ["of today", "of 0.1.0"])
def test_a_moved_home(
    home: Home,
    new_home: Home,
    before: list[tuple[str, str]],
    kbjobs: Kbjobs,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
) -> None:
    if version == "of 0.1.0":
        write_old_manifest(home)
    shutil.move(home.path, new_home.path)
    assert not home.path.exists()
    monkeypatch.setenv(HOME_VARIABLE, str(new_home.path))
    check_moved(kbjobs, new_home, before)


def test_an_old_manifest_is_written_anew_by_a_job(home: Home, before: list[tuple[str, str]], kbjobs: Kbjobs) -> None:
    write_old_manifest(home)
    check_moved(kbjobs, home, before)


@pytest.mark.parametrize("version", ["of today", "of 0.1.0"])
def test_a_backup_restored_elsewhere(
    home: Home,
    new_home: Home,
    before: list[tuple[str, str]],
    kbjobs: Kbjobs,
    engines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
) -> None:
    if version == "of 0.1.0":
        write_old_manifest(home)
    kbjobs("backup", tmp_path / "b.tar")
    shutil.rmtree(home.path)
    monkeypatch.setenv(HOME_VARIABLE, str(new_home.path))
    assert "not in the backup" not in kbjobs("restore", tmp_path / "b.tar").stderr
    new_home.engines.symlink_to(engines)
    check_moved(kbjobs, new_home, before)


def test_a_restored_home_does_not_look_at_the_old_one(
    home: Home, new_home: Home, before: list[tuple[str, str]], kbjobs: Kbjobs, tmp_path: Path
) -> None:
    write_old_manifest(home)
    kbjobs("backup", tmp_path / "b.tar")
    restore(new_home, tmp_path / "b.tar", replace=False)
    source = SourceFolder(new_home.sources, "x").read()
    assert all(Path(path).is_relative_to(new_home.path) for path in source.paths)
    assert SourceFolder(home.sources, "x").read().paths != source.paths
