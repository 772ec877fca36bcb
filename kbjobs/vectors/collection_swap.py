"""Changing a collection in a working copy next to it, and publishing the copy by a rename.

A search therefore sees the last verified state until the new one is verified, and a kill at any point
leaves either the old collection or the new one in place.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from kbjobs.errors import UnavailableError
from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import remove_tree, sync_tree
from kbjobs.system.folder_swap import FolderSwap
from kbjobs.vectors.collection import Collection, OpenDirectory, open_directory
from kbjobs.vectors.exact import MATRIX, MENDING


class WorkingCopy:
    """The directories around one live collection. All methods but ``readable`` need the source's lock.

    Args:
        live: the directory that is searched.
        opens: opens a directory's collection.
    """

    def __init__(self, live: Path, opens: OpenDirectory = open_directory) -> None:
        self.live = live
        self._opens = opens
        self.building = live.with_name(live.name + ".building")
        self._copying = live.with_name(live.name + ".copying")
        self._old = live.with_name(live.name + ".old")
        self._clearing = live.with_name(live.name + ".clearing")
        self._swap = FolderSwap(live, self.building, self._old)

    def directories(self) -> tuple[Path, ...]:
        """Every directory that may belong to the collection."""
        return self.live, self.building, self._copying, self._old, self._clearing

    def readable(self) -> Path:
        """The directory to search: the live one, or in the middle of a swap the old one."""
        return self._old if self._swap.is_half_done else self.live

    def is_there(self) -> bool:
        """Whether there is a directory to search. The live one is checked twice, as a swap may end in between."""
        return self.live.exists() or self._old.exists() or self.live.exists()

    def recover(self) -> None:
        """Recover from a kill: finish a swap between its two renames, and remove incomplete copies."""
        self._swap.recover(finish=True)
        for leftover in (self._copying, self._clearing):
            remove_tree(leftover)

    def has_live(self) -> bool:
        """Whether there is a published collection."""
        return self.live.exists()

    def has_begun(self) -> bool:
        """Whether a working copy has been begun."""
        return self.building.exists()

    @property
    def is_in_place(self) -> bool:
        """Whether changes go into the live collection itself instead of a copy."""
        return False

    def open_live(self) -> Collection:
        """Open the published collection; raises CollectionError if it is unusable."""
        return self._opens(self.readable())

    def open_building(self) -> Collection:
        """Open the collection of the working copy; raises CollectionError."""
        return self._opens(self.building, create=True)

    def begin(self, empty: bool) -> None:
        """Begin a directory to write to: resume one begun before, otherwise copy the live one, or make an empty one.

        Files that every publishing rewrites are not copied.
        """
        self.recover()
        if not self.building.exists():
            if empty or not self.live.exists():
                self.building.mkdir(mode=0o700, parents=True)
            else:
                shutil.copytree(self.live, self._copying, ignore=self._leave_out)
                sync_tree(self._copying)
                crash_point("copy.before_rename")
                self._copying.rename(self.building)
                crash_point("copy.renamed")

    def remove_from_server(self) -> None:
        """Remove the collection from a server; nothing to do for a directory."""

    def discard(self) -> None:
        """Discard the working copy."""
        self.recover()
        if self.building.exists():
            shutil.rmtree(self.building)

    def clear(self) -> int:
        """Remove the collection and everything next to it; returns the bytes freed on disk.

        A directory is renamed first, so that a half-removed one is never taken for a collection.
        """
        freed = sum(disk_bytes(path) for path in self.directories() if path.exists())
        self.recover()
        for path in (self.building, self.live):
            if path.exists():
                path.rename(self._clearing)
                crash_point("clear.renamed")
                remove_tree(self._clearing)
        return freed

    def _leave_out(self, folder: str, names: list[str]) -> set[str]:
        return shutil.ignore_patterns(MATRIX, f"{MENDING}*")(folder, names)

    def close(self) -> None:
        """Close connections, if there are any."""

    def describe(self) -> str:
        """A text that changes as soon as anybody writes to the published collection."""
        return describe_files(self.live)

    def publish(self) -> None:
        """Replace the live collection by the closed and verified working copy."""
        crash_point("publish.before")
        sync_tree(self.building)
        self._swap.publish()
        crash_point("publish.done")


def check_room(copies: WorkingCopy, whole: int, is_fresh: bool) -> None:
    """Raise UnavailableError if the disk has no room for the files that publishing writes.

    Args:
        copies: the directories of the collection.
        whole: the bytes of the whole collection if it is written from nothing.
        is_fresh: whether it is written from nothing; otherwise a copy of the live one is changed.
    """
    begun = disk_bytes(copies.building) if copies.building.exists() else 0
    copied = disk_bytes(copies.live) if copies.live.exists() and not is_fresh else 0
    needed = max(whole, copied) - begun
    there = next(path for path in copies.live.parents if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UnavailableError(
            f"{free / 1e6:.0f} MB are free on the disk of {there}, the new index needs about {needed / 1e6:.0f} MB",
            "Free some space and try again. Nothing that the ledger holds is embedded again. Until then, searches"
            " use the last index.",
        )


def describe_files(directory: Path) -> str:
    """A hash of name, inode, size and times of a directory's files, which changes as soon as anybody writes there.

    The files are not read, so data lost by the disk itself goes unnoticed.
    """
    found = []
    for path in sorted(directory.rglob("*")):
        seen = path.lstat()
        if not path.is_dir():
            name = path.relative_to(directory)
            found.append(f"{name} {seen.st_ino} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:32]


def disk_bytes(path: Path) -> int:
    """The disk space of a directory's files in bytes; 0 for a link to a directory."""
    if path.is_symlink():
        return 0
    return sum(file.lstat().st_blocks * 512 for file in path.rglob("*") if file.is_file())
