"""A new folder in the place of another: a kill at any moment leaves the one or the other, also after a power cut."""

from __future__ import annotations

from pathlib import Path

from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import remove_tree, sync_folder


class FolderSwap:
    """Two renames on one disk. The caller holds a lock, and has synced ``new`` before :meth:`publish`.

    Args:
        live: where everybody looks.
        new: the folder that is to lie there.
        old: where the former folder lies between the two renames.
    """

    def __init__(self, live: Path, new: Path, old: Path) -> None:
        self.live, self.new, self.old = live, new, old

    @property
    def is_half_done(self) -> bool:
        """Whether a kill has left nothing in the place, and the former folder beside it."""
        return self.old.exists() and not self.live.exists()

    def recover(self, *, finish: bool = False) -> None:
        """Settle a swap that a kill has cut between its renames, and remove what one after them has left.

        Args:
            finish: put the new folder in the place, which is whole by then; otherwise the former one goes back, and the
                new one stays as it is, for whoever made it to publish it again.
        """
        if self.is_half_done:
            (self.new if finish and self.new.exists() else self.old).rename(self.live)
        remove_tree(self.old)

    def publish(self) -> None:
        """Put the new folder in its place, and remove the former one.

        Raises:
            OSError: the disk cannot be written.
        """
        if self.live.exists():
            self.live.rename(self.old)
            crash_point("swap.between_renames")
        self.new.rename(self.live)
        sync_folder(self.live.parent)
        crash_point("swap.renamed")
        remove_tree(self.old)
