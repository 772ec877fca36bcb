"""A map's files are whole or not there, and tell which state they show."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.maps.map_files import MapFiles, write_page, write_points
from kbjobs.store.sources import is_source_id


def test_a_source_called_map_has_files_of_its_own(home: Home) -> None:
    names = [MapFiles(home.map_page(source)).points.name for source in (None, "map", "wiki", "map.x")]
    assert names == ["map.json", "_map.json", "wiki.json", "map.x.json"]
    assert not is_source_id("_map")


def test_both_files_tell_their_state(tmp_path: Path) -> None:
    files = MapFiles(tmp_path / "wiki.html")
    assert not files.are_of("abc")
    write_page(files, '<meta content="abc">')
    assert not files.are_of("abc")
    write_points(files, {"state": "abc"}, iter([{"x": 1}, {"x": 2}]))
    assert files.are_of("abc") and not files.are_of("ab") and not files.are_of("abd")
    assert json.loads(files.points.read_text()) == {"state": "abc", "points": [{"x": 1}, {"x": 2}]}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (files.page, files.points)} == {0o600}


def test_what_fails_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    files = MapFiles(tmp_path / "map.html")
    write_points(files, {"state": "old"}, [])

    def broken() -> Iterator[dict[str, Any]]:
        yield {"x": 1}
        raise OSError("the disk is full")

    (tmp_path / ".map.json.part").write_text("left by a kill")
    with pytest.raises(OSError, match="full"):
        write_points(files, {"state": "new"}, broken())
    assert files.are_of("old") is False and json.loads(files.points.read_text())["state"] == "old"
    assert not list(tmp_path.glob(".*"))
