"""Removing a source's folder: a hidden name in one step, then what lies there.

The name says how far it has come and what stays: whoever finds the folder can go on. A link is removed, never what it
leads to; what is mounted below the folder is not entered.
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
# What kbjobs itself makes in a source's folder; the rest is what was copied, scraped or put there.
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
"""Told how many files are removed so far; may raise to stop."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a removal takes: files, and the bytes of the disk that they free; links, which lead elsewhere."""

    files: int
    freed_bytes: int
    links: int


class SourceFolderDeletion:
    """The removal of one source of the folder ``sources``."""

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
        """Whether the unfinished removal keeps the files that are not of kbjobs' making."""
        return self.hidden is not None and self.hidden.name.startswith(KEEPING)

    @property
    def is_there(self) -> bool:
        """Whether there is such a source, be its manifest damaged or not."""
        return os.path.lexists(self.source.manifest)

    def has_more_than_made(self) -> bool:
        """Whether the folder holds anything that is not of kbjobs' making."""
        top = self.hidden or self.source.path
        return len(_list_parts(top, keep_files=True)) < len(_list_parts(top, keep_files=False))

    def check(self) -> None:
        """Raise ConflictError if something is mounted in the folder: its files would go with those of the source."""
        inside = self.source.path.parent.resolve() / self.source.id
        mounted = [path for path in list_mount_points() if path.is_relative_to(inside)]
        if mounted:
            raise ConflictError(
                f"{mounted[0]} is a mount point in the folder of source {self.source.id!r}",
                f"Unmount it first: umount {mounted[0]}. Nothing was changed.",
            )

    def begin(self, keep_files: bool) -> None:
        """Give the folder its hidden name: from here on the source no longer exists."""
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
            os.fsync(descriptor)  # what is noted of it must not outlive it
        finally:
            os.close(descriptor)
        crash_point("delete.renamed")

    def measure(self, keep_files: bool) -> Contents:
        """What the removal takes, or would take: of the folder under its name or its hidden one."""
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
        """Remove what lies under the hidden name; put back what is kept. Nothing to do if that is done.

        Raises KbjobsError, naming the first file that cannot be removed, once all others are.
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
    """Removes trees, going on behind what cannot be removed; ``problem`` is the first such."""

    def __init__(self, on_removed: OnRemoved) -> None:
        self.problem = ""
        self._files = 0
        self._on_removed = on_removed

    def remove(self, top: Path) -> None:
        """Remove a file, a link or a folder with all that lies in it."""
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
        except FileNotFoundError:  # another process finishes the same removal
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
    """The removals that have begun and not ended."""
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
    """What of a source's folder is removed."""
    try:
        entries = sorted(top.iterdir()) if _is_folder(top) else []
    except FileNotFoundError:  # another process has finished the same removal
        return []
    return [entry for entry in entries if not keep_files or any(fnmatchcase(entry.name, name) for name in MADE)]


def _walk_files(top: Path) -> Iterator[os.stat_result]:
    """Every file and link at a place or below it; no link is followed."""
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
