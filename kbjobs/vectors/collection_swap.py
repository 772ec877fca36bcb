"""A collection is changed in a copy beside it and published by a rename.

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
        opens: how a directory's collection is opened.
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
        """The directory to search: the live one, or in the instant of a swap the one it replaces."""
        return self._old if self._swap.is_half_done else self.live

    def is_there(self) -> bool:
        """Whether there is a directory to search. A swap may end between two of the looks."""
        return self.live.exists() or self._old.exists() or self.live.exists()

    def recover(self) -> None:
        """Finish what a kill has cut short: a copy that was not whole, a swap between its two renames."""
        self._swap.recover(finish=True)
        for leftover in (self._copying, self._clearing):
            remove_tree(leftover)

    def has_live(self) -> bool:
        """Whether there is a published collection."""
        return self.live.exists()

    def has_begun(self) -> bool:
        """Whether a working copy was begun."""
        return self.building.exists()

    @property
    def is_in_place(self) -> bool:
        """Whether the live collection itself is written to, instead of a copy."""
        return False

    def open_live(self) -> Collection:
        """Open the published collection; raises CollectionError where it cannot be used."""
        return self._opens(self.readable())

    def open_building(self) -> Collection:
        """Open the collection of the working copy that was begun; raises CollectionError."""
        return self._opens(self.building, create=True)

    def begin(self, empty: bool) -> None:
        """Begin a directory to write to: go on with one that was begun, else a copy of the live one, or an empty one.

        Of what is written anew at each publishing nothing is copied.
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
        """Remove what lies on a server; of a directory nothing does."""

    def discard(self) -> None:
        """Throw the working copy away."""
        self.recover()
        if self.building.exists():
            shutil.rmtree(self.building)

    def clear(self) -> int:
        """Remove the collection and everything beside it; returns how many bytes of the disk that frees.

        A directory is renamed first, so that nobody ever takes a half removed one for a collection.
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
        """Let go of what was opened to reach it."""

    def describe(self) -> str:
        """A text that changes as soon as anybody writes to what is published."""
        return describe_files(self.live)

    def publish(self) -> None:
        """Put the closed and verified working copy in the place of the live collection."""
        crash_point("publish.before")
        sync_tree(self.building)
        self._swap.publish()
        crash_point("publish.done")


def check_room(copies: WorkingCopy, whole: int, is_fresh: bool) -> None:
    """Raise UnavailableError where the disk has no room for what publishing writes beside what is there.

    Args:
        copies: the directories of the collection.
        whole: bytes of the whole collection, if it were written from nothing.
        is_fresh: it is; else a copy of the live one is changed.
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
    """Name, inode, size and times of each file of a directory, as a text that changes as soon as anybody writes there.

    Nothing is read of the files: what the disk itself loses is not seen.
    """
    found = []
    for path in sorted(directory.rglob("*")):
        seen = path.lstat()
        if not path.is_dir():
            name = path.relative_to(directory)
            found.append(f"{name} {seen.st_ino} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:32]


def disk_bytes(path: Path) -> int:
    """What a directory's files take on the disk; nothing for a link to one."""
    if path.is_symlink():
        return 0
    return sum(file.lstat().st_blocks * 512 for file in path.rglob("*") if file.is_file())
