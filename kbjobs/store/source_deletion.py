"""Removing a source's folder: first a rename to a hidden name, in one step; then the contents.

The hidden name says what stays, so that any process that finds the folder can finish. A link is removed, never its
target. Folders with mount points inside are refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from kbjobs.errors import ConflictError, KbjobsError
from kbjobs.store.sources import SourceFolder, is_source_id
from kbjobs.system.crashpoints import crash_point
from kbjobs.system.mounts import list_mount_points

DELETING = ".deleting-"
KEEPING = ".keeping-"
# The files that kbjobs itself makes in a source's folder; all others were copied, scraped or put there.
MADE = (
    "manifest.json",
    "manifest.part",
    "source.db*",
    "words.db*",
    "scrape.db*",
    "vectors",
    "batches",
    "pages.part",
    ".lock",
)

OnRemoved = Callable[[int], None]
"""Called with the number of files removed so far; may raise to stop."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a removal deletes: the numbers of files and links, and the disk space freed in bytes."""

    files: int
    freed_bytes: int
    links: int


class SourceFolderDeletion:
    """The removal of one source in the folder ``sources``."""

    def __init__(self, sources: Path, source_id: str) -> None:
        self.source = SourceFolder(sources, source_id)
        self._sources = sources

    @property
    def hidden(self) -> Path | None:
        """The folder under its hidden name; None if no removal is unfinished."""
        for prefix in (DELETING, KEEPING):
            path = self._sources / (prefix + self.source.id)
            if os.path.lexists(path):
                return path
        return None

    @property
    def keeps_files(self) -> bool:
        """Whether the unfinished removal keeps the files that kbjobs did not make."""
        return self.hidden is not None and self.hidden.name.startswith(KEEPING)

    @property
    def is_there(self) -> bool:
        """Whether the source exists, even with a damaged manifest."""
        return os.path.lexists(self.source.manifest)

    def has_more_than_made(self) -> bool:
        """Whether the folder holds anything that kbjobs did not make."""
        top = self.hidden or self.source.path
        return len(_list_parts(top, keep_files=True)) < len(_list_parts(top, keep_files=False))

    def check(self) -> None:
        """Raise ConflictError if anything is mounted in the folder, since its files would be removed, too."""
        inside = self.source.path.parent.resolve() / self.source.id
        mounted = [path for path in list_mount_points() if path.is_relative_to(inside)]
        if mounted:
            raise ConflictError(
                f"{mounted[0]} is a mount point in the folder of source {self.source.id!r}",
                f"Unmount it first: umount {mounted[0]}. Nothing was changed.",
            )

    def begin(self, keep_files: bool) -> None:
        """Give the folder its hidden name; from then on the source no longer exists."""
        target = self._sources / ((KEEPING if keep_files else DELETING) + self.source.id)
        try:
            self.source.path.rename(target)
        except OSError as error:
            raise KbjobsError(
                f"{self.source.path} cannot be removed: {error.strerror}",
                f"Make {self._sources} writable, then try again. Nothing was changed.",
            ) from error
        descriptor = os.open(self._sources, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)  # the rename must be on disk before the deletion is recorded
        finally:
            os.close(descriptor)
        crash_point("delete.renamed")

    def measure(self, keep_files: bool) -> Contents:
        """Count what the removal deletes, under the folder's own or hidden name."""
        top = self.hidden or self.source.path
        if top.is_symlink():
            return Contents(0, 0, 1)
        files = links = size = 0
        for place in _list_parts(top, keep_files):
            for found in _walk_files(place):
                if stat.S_ISLNK(found.st_mode):
                    links += 1
                    continue
                files += 1
                size += found.st_blocks * 512 if found.st_nlink == 1 else 0
        return Contents(files, size, links)

    def finish(self, on_removed: OnRemoved = lambda files: None) -> None:
        """Remove the contents of the hidden folder, if there is one, and put back files to keep.

        If files cannot be removed, all others are removed first; then KbjobsError names the first of them.
        """
        hidden, keep_files = self.hidden, self.keeps_files
        if hidden is None:
            return
        sweep = _Sweep(on_removed)
        for place in _list_parts(hidden, keep_files):
            sweep.remove(place)
        if not sweep.problem and not (keep_files and _list_parts(hidden, keep_files=False)):
            sweep.remove(hidden)
        if sweep.problem:
            raise KbjobsError(
                f"{sweep.problem}: source {self.source.id!r} is deleted, but the rest of it is in {hidden}",
                "Check its permissions, then try again.",
            )
        if keep_files:
            crash_point("delete.before_return")
            self._put_back(hidden)

    def _put_back(self, hidden: Path) -> None:
        if not hidden.exists():
            return
        try:
            hidden.rename(self.source.path)
        except OSError as error:
            raise KbjobsError(
                f"the files to keep are in {hidden}, since {self.source.path} is there again: {error.strerror}",
                f"Move {self.source.path} away, then try again.",
            ) from error
        crash_point("delete.returned")


class _Sweep:
    """Removes trees and continues after errors; ``problem`` describes the first error."""

    def __init__(self, on_removed: OnRemoved) -> None:
        self.problem = ""
        self._files = 0
        self._on_removed = on_removed

    def remove(self, top: Path) -> None:
        """Remove a file, a link, or a folder with its contents."""
        try:
            if not _is_folder(top):
                self._unlink(top.name, top, None)
                return
            for path, folders, files, descriptor in os.fwalk(top, topdown=False, onerror=self._note):
                for name in files:
                    self._unlink(name, Path(path, name), descriptor)
                for name in folders:
                    if stat.S_ISLNK(os.lstat(name, dir_fd=descriptor).st_mode):
                        self._unlink(name, Path(path, name), descriptor)
                    else:
                        self._remove_folder(name, Path(path, name), descriptor)
            self._remove_folder(top.name, top, None)
        except FileNotFoundError:  # another process is finishing the same removal
            return

    def _unlink(self, name: str, path: Path, descriptor: int | None) -> None:
        try:
            os.unlink(path if descriptor is None else name, dir_fd=descriptor)
        except OSError as error:
            self._note(error, path)
            return
        self._files += 1
        self._on_removed(self._files)
        crash_point("delete.removed_file")

    def _remove_folder(self, name: str, path: Path, descriptor: int | None) -> None:
        try:
            os.rmdir(path if descriptor is None else name, dir_fd=descriptor)
        except OSError as error:
            self._note(error, path)

    def _note(self, error: OSError, path: Path | None = None) -> None:
        if not isinstance(error, FileNotFoundError):
            self.problem = self.problem or f"{path or error.filename} cannot be removed: {error.strerror}"


def list_unfinished(sources: Path) -> list[SourceFolderDeletion]:
    """The removals that have begun but not ended."""
    if not sources.is_dir():
        return []
    names = {
        entry.name.removeprefix(prefix)
        for entry in sources.iterdir()
        for prefix in (DELETING, KEEPING)
        if entry.name.startswith(prefix)
    }
    return [SourceFolderDeletion(sources, name) for name in sorted(names) if is_source_id(name)]


def _list_parts(top: Path, keep_files: bool) -> list[Path]:
    """The entries of a source's folder that are removed."""
    try:
        entries = sorted(top.iterdir()) if _is_folder(top) else []
    except FileNotFoundError:  # another process has finished the same removal
        return []
    return [entry for entry in entries if not keep_files or any(fnmatchcase(entry.name, name) for name in MADE)]


def _walk_files(top: Path) -> Iterator[os.stat_result]:
    """Yield the status of every file and link at a path or below it, following no link."""
    if not _is_folder(top):
        yield top.lstat()
        return
    for _, folders, files, descriptor in os.fwalk(top):
        for name in (*files, *folders):
            found = os.lstat(name, dir_fd=descriptor)
            if not stat.S_ISDIR(found.st_mode):
                yield found


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
