"""Unfinished downloads are removed once nobody has written to them for long, and nothing else is."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.housekeeping import forget_old_jobs
from kbjobs.services.doctor import examine
from tests.conftest import Kbjobs, read_json


def make(path: Path, days: float, size: int = 4096) -> Path:
    """A file that was last written so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    then = time.time() - days * 86_400
    os.utime(path, (then, then))
    folder = path.parent
    while folder.name not in ("downloads", "models", "sources", "engines"):
        os.utime(folder, (then, then))
        folder = folder.parent
    return path


@pytest.fixture
def files(home: Home) -> dict[str, Path]:
    home.prepare()
    if home.engines.is_symlink():  # shared by the tests
        home.engines.unlink()
    return {
        "pack": make(home.downloads / "wiki" / "objects" / "aa", 91),
        "model": make(home.downloads / "models" / "org--name" / "model.onnx.part", 91),
        "engine": make(home.engines / ".building-x" / "graph.bin", 91),
        "used engine": make(home.engines / "model-key" / "graph.bin", 91),
        "fresh pack": make(home.downloads / "guide" / "objects" / "bb", 89),
        "fresh model": make(home.downloads / "models" / "org--other" / "model.onnx.part", 1),
        "page": make(home.sources / "wiki" / "pages" / "page.html", 91),
        "installed": make(home.models / "org" / "name" / "model.onnx", 91),
    }


def left(files: dict[str, Path]) -> set[str]:
    return {name for name, path in files.items() if path.exists()}


STAY = {"used engine", "fresh pack", "fresh model", "page", "installed"}


def test_a_person_removes_them(home: Home, files: dict[str, Path], kbjobs: Kbjobs) -> None:
    found = read_json(kbjobs("prune", "--dry-run", "--json"))["leftovers"]
    assert [Path(one["path"]).name for one in found] == ["wiki", "org--name", ".building-x"]
    assert all(4096 <= one["bytes"] <= 65_536 for one in found) and len(left(files)) == len(files)
    ended = kbjobs("prune")
    assert ended.stderr.count("an unfinished download: deleted") == 3 and left(files) == STAY
    kbjobs("prune", "--days", "0.5")
    assert left(files) == STAY - {"fresh pack", "fresh model"}


def test_the_daemon_removes_them_and_says_what(
    home: Home, files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kbjobs.daemon")
    forget_old_jobs(home)
    assert left(files) == STAY
    assert str(home.downloads / "wiki") in caplog.text and "nobody resumed it" in caplog.text


def test_a_link_is_removed_without_its_target(home: Home, tmp_path: Path, files: dict[str, Path]) -> None:
    target = make(tmp_path / "downloads" / "elsewhere" / "file", 200)
    link = home.downloads / "link"
    link.symlink_to(target.parent)
    os.utime(link, (0, 0), follow_symlinks=False)
    forget_old_jobs(home)
    assert not link.is_symlink() and target.exists()


def test_the_doctor_tells_what_takes_the_room(home: Home, files: dict[str, Path]) -> None:
    make(home.sources / "guide" / "pages" / "large", 0, 3_000_000)
    (room,) = [one for one in examine(home) if one.check == "room"]
    assert room.level == "ok" and "sources 3 MB" in room.text and "the largest source is guide, 3 MB" in room.text
