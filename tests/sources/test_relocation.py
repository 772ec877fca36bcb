"""``sources relocate``: the files of a source were moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import NotFoundError, UsageError
from kbjobs.services.documents import documents
from kbjobs.services.sources import register
from kbjobs.sources.relocation import relocate
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs, read_json, write_pages


@pytest.fixture
def moved(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> Path:
    """A source whose folder has been moved from ``old/wiki`` to ``new/wiki``; returns ``new``."""
    register(home, "wiki", [write_pages(tmp_path / "old" / "wiki", 5)])
    kbjobs("run", "metadata", "wiki")
    (tmp_path / "old").rename(tmp_path / "new")
    return tmp_path / "new"


def test_documents_stay_what_they_are(home: Home, tmp_path: Path, moved: Path, kbjobs: Kbjobs) -> None:
    before = {one["path"] for one in documents(home, "wiki")}
    kbjobs("run", "metadata", "wiki", check=4)
    result = kbjobs("sources", "relocate", "wiki", tmp_path / "old" / "wiki", moved / "wiki")
    assert "5 of its 5 documents are there" in result.stderr
    kbjobs("run", "metadata", "wiki", "--json")
    ended = read_json(kbjobs("history", "--json"))[0]
    assert (ended["result"]["new"], ended["result"]["removed"]) == (0, 0)
    assert {one["path"] for one in documents(home, "wiki")} == before


def test_a_folder_above_several_paths(home: Home, tmp_path: Path, moved: Path) -> None:
    assert relocate(home, "wiki", tmp_path / "old", moved).source.paths == (str(moved / "wiki"),)


def test_what_cannot_be_meant_is_refused(home: Home, tmp_path: Path, moved: Path) -> None:
    before = SourceFolder(home.sources, "wiki").manifest.read_bytes()
    with pytest.raises(NotFoundError, match="is not there"):
        relocate(home, "wiki", tmp_path / "old" / "wiki", tmp_path / "nowhere")
    with pytest.raises(NotFoundError, match="no path of source"):
        relocate(home, "wiki", tmp_path / "elsewhere", moved)
    (moved / "wiki").rename(moved / "other")
    with pytest.raises(UsageError, match="new ids"):
        relocate(home, "wiki", tmp_path / "old" / "wiki", moved / "other")
    (moved / "wiki").mkdir()
    with pytest.raises(UsageError, match="none of the 5 documents"):
        relocate(home, "wiki", tmp_path / "old" / "wiki", moved / "wiki")
    assert SourceFolder(home.sources, "wiki").manifest.read_bytes() == before
