"""Replacing a whole source by another in one step: a reader sees either the old source or the new one.

The new source is built next to the old one under the hidden name ``.installing-ID``. If the file system cannot exchange
two folders, the old source is renamed to ``.replaced-ID`` first; ``recover`` repairs a kill between the two renames.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kbjobs.errors import UnavailableError
from kbjobs.store.connection import is_disk_full
from kbjobs.store.sources import SourceFolder, is_source_id
from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import exchange_folders, remove_tree
from kbjobs.system.folder_swap import FolderSwap

INSTALLING = ".installing-"
REPLACED = ".replaced-"


class SourceSwap:
    """The replacement of one source. All methods but ``folder`` need the source's lock."""

    def __init__(self, live: SourceFolder) -> None:
        self._live = live
        sources = live.path.parent
        self._new = sources / (INSTALLING + live.id)
        self._old = sources / (REPLACED + live.id)
        self._swap = FolderSwap(live.path, self._new, self._old)

    @property
    def folder(self) -> SourceFolder:
        """The folder in which the new source is built."""
        return self._live.under(self._new)

    def recover(self) -> None:
        """Recover from a kill: an old source that no new one has replaced is put back; leftovers are removed."""
        if self._old.exists() and self._live.path.exists() and not os.path.lexists(self._live.manifest):
            self._live.lock.unlink(missing_ok=True)  # a process that took the lock created it
            self._live.path.rmdir()
        with _removing(self._old):
            self._swap.recover()
        with _removing(self._new):
            remove_tree(self._new)

    def begin(self) -> SourceFolder:
        """Create an empty folder to build the new source in."""
        self.recover()
        self._new.mkdir(mode=0o700, parents=True)
        return self.folder

    def publish(self) -> None:
        """Put the new source in place of the old one, and remove the old one."""
        os.sync()  # once, because a sync after each file would take minutes
        if self._live.lock.exists():
            # The lock is the same file in both, so its holder keeps it across the swap.
            self._new.joinpath(self._live.lock.name).unlink(missing_ok=True)
            os.link(self._live.lock, self._new / self._live.lock.name)
        crash_point("install.before_rename")
        if not self._live.path.exists() or not exchange_folders(self._new, self._live.path):
            with _removing(self._old):
                self._swap.publish()
        crash_point("install.renamed")
        with _removing(self._new):
            remove_tree(self._new)
        crash_point("install.done")


def list_interrupted_swaps(sources: Path) -> list[SourceFolder]:
    """The sources whose replacement was interrupted or is under way."""
    if not sources.is_dir():
        return []
    names = {
        entry.name.removeprefix(prefix) for prefix in (INSTALLING, REPLACED) for entry in sources.glob(f"{prefix}*")
    }
    return [SourceFolder(sources, name) for name in sorted(names) if is_source_id(name)]


def link_files(live: SourceFolder, new: SourceFolder) -> None:
    """Hard-link the files of a source into the folder of its successor, without the files that kbjobs makes."""
    made = {live.ledger.name, live.manifest.name, live.lock.name, live.words.name, live.vectors.name}

    def leave_out(folder: str, names: list[str]) -> set[str]:
        is_top = Path(folder) == live.path
        return {name for name in names if is_top and (name in made or name.startswith(f"{live.ledger.name}-"))}

    try:
        shutil.copytree(live.path, new.path, symlinks=True, ignore=leave_out, copy_function=os.link, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise UnavailableError(f"the files of {live.path} cannot be linked: {error}", "Nothing was changed.") from error


@contextmanager
def _removing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = "the disk is full" if is_disk_full(error) else error.strerror
        raise UnavailableError(f"cannot remove {path}: {what}", "Delete it by hand; nothing needs it.") from error
