"""``kbjobs backup``: what it says. What is in the archive: tests/store/test_backup.py."""

from __future__ import annotations

from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.services.sources import register
from kbjobs.store.backup import NEVER_IN_IT
from kbjobs.store.queue import Queue
from kbjobs.store.sources import SourceFolder
from tests.commands.conftest import check_help
from tests.conftest import Kbjobs, read_json, write_pages


def test_help(kbjobs: Kbjobs) -> None:
    check_help(kbjobs, "backup")


def test_an_empty_home_is_nothing_to_back_up(tmp_path: Path, kbjobs: Kbjobs) -> None:
    refused = kbjobs("backup", tmp_path / "b.tar", check=4)
    assert "there is nothing to back up in" in refused.stderr
    assert not (tmp_path / "b.tar").exists()


def test_what_is_in_it_and_what_is_not(home: Home, past: Queue, tmp_path: Path, kbjobs: Kbjobs) -> None:
    register(home, "copied", [write_pages(tmp_path / "pages", 2)], copy=True)
    register(home, "outside", [write_pages(tmp_path / "more", 2)])
    archive = tmp_path / "b.tar"
    output = kbjobs("backup", archive)
    assert (output.stdout, archive.stat().st_mode & 0o777) == ("", 0o600)
    assert output.stderr.splitlines() == [
        f"{archive}: {archive.stat().st_size / 1e6:.1f} MB, 5 files.",
        f"Left out: {', '.join([*NEVER_IN_IT, 'files read in place'])}.",
    ]
    answer = read_json(kbjobs("backup", archive, "--json", "--without-pages"))
    assert answer == {
        "file": str(archive),
        "bytes": archive.stat().st_size,
        "files": 3,
        "left_out": [*NEVER_IN_IT, "pages", "files read in place"],
        "damaged": [],
    }


def test_a_damaged_source_is_named(home: Home, past: Queue, tmp_path: Path, kbjobs: Kbjobs) -> None:
    for name in ("a", "b"):
        register(home, name, [write_pages(tmp_path / name, 1)])
    SourceFolder(home.sources, "b").manifest.write_text("{")
    output = kbjobs("backup", tmp_path / "b.tar", check=3)
    assert "Source b is not complete in it: " in output.stderr
    assert read_json(kbjobs("backup", tmp_path / "b.tar", "--json", check=3))["damaged"] == ["b"]


def test_a_damaged_state_is_no_backup(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    home.state_file.write_bytes(b"garbage " * 2000)
    assert "damaged" in kbjobs("backup", tmp_path / "b.tar", check=7).stderr
    assert not (tmp_path / "b.tar").exists()
