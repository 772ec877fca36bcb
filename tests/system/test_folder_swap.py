"""A folder takes another's place, or a kill leaves one of the two there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kbjobs.system.crashpoints import VARIABLE
from kbjobs.system.folder_swap import FolderSwap

PUBLISH = """
import sys
from pathlib import Path
from kbjobs.system.folder_swap import FolderSwap

FolderSwap(*map(Path, sys.argv[1:])).publish()
"""


def make_swap(folder: Path) -> FolderSwap:
    for name in ("live", "new"):
        (folder / name).mkdir(parents=True)
        (folder / name / "says").write_text(name)
    return FolderSwap(folder / "live", folder / "new", folder / "old")


def test_the_new_folder_takes_the_place(tmp_path: Path) -> None:
    swap = make_swap(tmp_path / "both")
    swap.publish()
    assert [path.name for path in (tmp_path / "both").iterdir()] == ["live"]
    assert (swap.live / "says").read_text() == "new"


@pytest.mark.parametrize(
    ("point", "finish", "kept"),
    [("swap.between_renames", False, "live"), ("swap.between_renames", True, "new"), ("swap.renamed", False, "new")],
)
def test_a_kill_leaves_one_of_them(tmp_path: Path, point: str, finish: bool, kept: str) -> None:
    swap = make_swap(tmp_path)
    paths = [str(path) for path in (swap.live, swap.new, swap.old)]
    killed = subprocess.run(
        [sys.executable, "-c", PUBLISH, *paths], env={VARIABLE: f"{point}:{tmp_path / 'marker'}"}, check=False
    )
    assert killed.returncode == -9
    swap.recover(finish=finish)
    assert (swap.live / "says").read_text() == kept
    assert not swap.old.exists()
    if swap.new.exists():
        swap.publish()
    assert (swap.live / "says").read_text() == "new"
    assert not swap.old.exists()
