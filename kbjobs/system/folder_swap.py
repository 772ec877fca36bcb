"""Replacing a folder by another: after a kill or power cut at any point, recovery leaves one or the other in place."""

from __future__ import annotations

from pathlib import Path

from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import remove_tree, sync_folder


class FolderSwap:
    """A swap by two renames on one disk. The caller holds a lock, and syncs ``new`` before :meth:`publish`.

    Args:
        live: the path that readers use.
        new: the path of the new folder.
        old: the path of the old folder between the two renames.
    """

    def __init__(self, live: Path, new: Path, old: Path) -> None:
        self.live, self.new, self.old = live, new, old

    @property
    def is_half_done(self) -> bool:
        """Whether a kill has left nothing at ``live``, and the old folder at ``old``."""
        return self.old.exists() and not self.live.exists()

    def recover(self, *, finish: bool = False) -> None:
        """Recover from a kill between the two renames, and remove an old folder that a kill after them has left.

        Args:
            finish: whether to put the new folder, which is complete by then, into place; otherwise the old one is put
                back, and the new one stays as it is, for its maker to publish it again.
        """
        if self.is_half_done:
            (self.new if finish and self.new.exists() else self.old).rename(self.live)
        remove_tree(self.old)

    def publish(self) -> None:
        """Put the new folder into place, and remove the old one.

        Raises:
            OSError: the disk is not writable.
        """
        if self.live.exists():
            self.live.rename(self.old)
            crash_point("swap.between_renames")
        self.new.rename(self.live)
        sync_folder(self.live.parent)
        crash_point("swap.renamed")
        remove_tree(self.old)
