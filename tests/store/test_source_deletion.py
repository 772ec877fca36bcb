"""A source's folder is removed under a hidden name; what links lead to, and what is mounted, is not touched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ConflictError, KbjobsError, NotFoundError
from kbjobs.services.sources import register
from kbjobs.store.locks import lock_registered
from kbjobs.store.source_deletion import Contents, SourceFolderDeletion, list_unfinished
from tests.conftest import write_pages


@pytest.fixture
def removal(home: Home, tmp_path: Path) -> SourceFolderDeletion:
    """That of the source docs, of three copied pages."""
    register(home, "docs", [write_pages(tmp_path / "pages", 3)], copy=True)
    return SourceFolderDeletion(home.sources, "docs")


@pytest.fixture
def beyond(tmp_path: Path) -> Path:
    """A folder of the user outside the home, with a file."""
    folder = tmp_path / "beyond"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    return folder


def test_all_goes_and_nothing_is_left_beside(home: Home, removal: SourceFolderDeletion) -> None:
    counts: list[int] = []
    assert removal.is_there and removal.hidden is None
    assert removal.measure(keep_files=False).files == 5  # manifest and lock too
    removal.begin(keep_files=False)
    assert not removal.is_there
    assert [one.source.id for one in list_unfinished(home.sources)] == ["docs"]
    removal.finish(counts.append)
    assert counts == [1, 2, 3, 4, 5]
    assert list(home.sources.iterdir()) == []
    removal.finish()  # nothing to do


def test_what_was_copied_is_kept_under_its_path(home: Home, removal: SourceFolderDeletion) -> None:
    (removal.source.path / "own.pdf").write_text("put there by the user")
    removal.source.vectors.mkdir()
    for name in ("source.db", "source.db-wal", "words.db", "scrape.db", ".lock", "vectors/x"):
        (removal.source.path / name).touch()
    assert removal.measure(keep_files=True).files == 7
    removal.begin(keep_files=True)
    assert removal.keeps_files
    removal.finish()
    left = sorted(path.relative_to(removal.source.path).as_posix() for path in removal.source.path.rglob("*.*"))
    assert left == ["own.pdf", *(f"pages/1/pages/page{number}.html" for number in range(3))]
    assert list_unfinished(home.sources) == []


def test_with_nothing_to_keep_no_folder_stays(home: Home, tmp_path: Path) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    removal = SourceFolderDeletion(home.sources, "docs")
    removal.begin(keep_files=True)
    removal.finish()
    assert list(home.sources.iterdir()) == []


@pytest.mark.parametrize("name", ["pages", "vectors", "assets/deep/inside", "source.db", "manifest.part"])
@pytest.mark.parametrize("keep_files", [False, True])
def test_a_link_goes_and_what_it_leads_to_stays(
    removal: SourceFolderDeletion, beyond: Path, name: str, keep_files: bool
) -> None:
    link = removal.source.path / name
    if name == "pages":
        removal.source.pages.rename(removal.source.path / "former")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(beyond / "mine.txt" if "." in name else beyond)
    removal.begin(keep_files)
    removal.finish()
    assert [path.name for path in beyond.iterdir()] == ["mine.txt"]
    assert (beyond / "mine.txt").read_text() == "mine"
    is_kept = keep_files and name in ("pages", "assets/deep/inside")
    assert os.path.lexists(link) is is_kept


@pytest.mark.parametrize("keep_files", [False, True])
def test_a_folder_that_is_a_link_loses_the_link_alone(
    home: Home, removal: SourceFolderDeletion, tmp_path: Path, keep_files: bool
) -> None:
    moved = removal.source.path.rename(tmp_path / "elsewhere")
    removal.source.path.symlink_to(moved)
    before = sorted((path, path.lstat().st_mtime_ns) for path in moved.rglob("*"))
    assert removal.measure(keep_files) == Contents(0, 0, 1)
    removal.begin(keep_files)
    removal.finish()
    assert list(home.sources.iterdir()) == []
    assert sorted((path, path.lstat().st_mtime_ns) for path in moved.rglob("*")) == before


def test_bytes_that_another_name_keeps_are_not_counted_as_freed(removal: SourceFolderDeletion, tmp_path: Path) -> None:
    (removal.source.path / "big").write_bytes(b"x" * 1_000_000)
    freed = removal.measure(keep_files=False).freed_bytes
    os.link(removal.source.path / "big", tmp_path / "big")
    assert removal.measure(keep_files=False).freed_bytes <= freed - 1_000_000


@pytest.fixture
def mounted(removal: SourceFolderDeletion, beyond: Path) -> Iterator[Path]:
    """A place deep in the source's folder where the user's folder is mounted."""
    place = removal.source.path / "pages" / "mounted"
    place.mkdir()
    if subprocess.run(["mount", "--bind", beyond, place], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here (it needs root)")
    yield place
    for path in (place, *removal.source.path.parent.rglob("mounted")):
        subprocess.run(["umount", path], capture_output=True, check=False)


def test_what_is_mounted_in_the_folder_stops_it_before_it_begins(
    removal: SourceFolderDeletion, mounted: Path, beyond: Path
) -> None:
    with pytest.raises(ConflictError, match="is a mount point in the folder of source 'docs'") as caught:
        removal.check()
    assert f"umount {mounted}" in caught.value.hint
    assert removal.is_there and (beyond / "mine.txt").exists()


@pytest.fixture
def stubborn(removal: SourceFolderDeletion) -> Iterator[Path]:
    """A file that nobody can remove, not even root."""
    file = removal.source.path / "pages" / "stubborn"
    file.write_text("x")
    if subprocess.run(["chattr", "+i", file], capture_output=True, check=False).returncode:
        pytest.skip("no file can be made immutable here (it needs root, and a file system that knows it)")
    yield file
    for path in removal.source.path.parent.rglob("stubborn"):
        subprocess.run(["chattr", "-i", path], check=False)


@pytest.mark.parametrize("keep_files", [False, True])
def test_a_file_that_cannot_be_removed_is_named_and_all_others_go(
    home: Home, removal: SourceFolderDeletion, stubborn: Path, keep_files: bool
) -> None:
    if keep_files:
        subprocess.run(["chattr", "-i", stubborn], check=True)
        stubborn = stubborn.rename(removal.source.path / "words.db-stubborn")
        subprocess.run(["chattr", "+i", stubborn], check=True)
    removal.begin(keep_files)
    hidden = removal.hidden
    assert hidden is not None
    with pytest.raises(KbjobsError) as caught:
        removal.finish()
    assert f"{hidden / stubborn.relative_to(removal.source.path)} cannot be removed" in caught.value.message
    assert f"the rest of it is in {hidden}" in caught.value.message
    files = [path.name for path in hidden.rglob("*") if path.is_file()]
    assert files == ["stubborn"] or (keep_files and "words.db-stubborn" in files and len(files) == 4)
    for path in hidden.rglob("*stubborn"):
        subprocess.run(["chattr", "-i", path], check=True)
    removal.finish()
    assert list_unfinished(home.sources) == []


def test_a_folder_that_came_back_is_not_overwritten_by_what_is_kept(removal: SourceFolderDeletion) -> None:
    removal.begin(keep_files=True)
    removal.source.path.mkdir()
    (removal.source.path / "new").touch()
    with pytest.raises(KbjobsError, match="is there again"):
        removal.finish()
    assert (removal.source.path / "new").exists()
    (removal.source.path / "new").unlink()
    removal.finish()
    assert removal.source.pages.is_dir()


def test_two_processes_may_finish_the_same_removal(removal: SourceFolderDeletion) -> None:
    removal.begin(keep_files=True)
    other = SourceFolderDeletion(removal.source.path.parent, "docs")
    removal.finish(lambda files: other.finish() if files == 1 else None)
    assert sorted(path.name for path in removal.source.path.iterdir()) == ["pages"]


def test_a_folder_that_cannot_be_renamed_is_left_whole(home: Home, removal: SourceFolderDeletion) -> None:
    if subprocess.run(["chattr", "+i", home.sources], capture_output=True, check=False).returncode:
        pytest.skip("no folder can be made immutable here (it needs root, and a file system that knows it)")
    try:
        with pytest.raises(KbjobsError, match="docs cannot be removed: Operation not permitted") as caught:
            removal.begin(keep_files=False)
    finally:
        subprocess.run(["chattr", "-i", home.sources], check=True)
    assert caught.value.hint == f"Make {home.sources} writable, then try again. Nothing was changed."
    assert removal.is_there and removal.hidden is None


def test_who_waited_for_the_lock_of_a_source_that_is_gone_makes_no_folder_anew(
    home: Home, removal: SourceFolderDeletion
) -> None:
    removal.begin(keep_files=False)
    removal.finish()
    with pytest.raises(NotFoundError, match="source 'docs' was deleted meanwhile"):
        lock_registered(removal.source, 0)
    assert list(home.sources.iterdir()) == []


def test_only_hidden_folders_of_sources_are_taken_for_removals(home: Home, removal: SourceFolderDeletion) -> None:
    (home.sources / ".deleting-..").mkdir()
    (home.sources / ".deleting-").mkdir()
    (home.sources / ".keeping-docs").mkdir()
    assert [one.source.id for one in list_unfinished(home.sources)] == ["docs"]
    assert list_unfinished(home.sources / "none") == []
