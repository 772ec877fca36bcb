"""Hash a file while it arrives, without slowing the download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread

PIECE = 2 * 1024 * 1024  # bytes read at a time from a local file
_AHEAD = 8  # pieces that may wait for hashing


class HashedContent:
    """Size and hashes of the bytes so far: sha256, and on request the hash as a git blob.

    Args:
        git_size: the size of the whole in bytes, with which git's hash begins
          (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects); None to leave that hash out.
    """

    def __init__(self, git_size: int | None = None) -> None:
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.git = None if git_size is None else hashlib.sha1(b"blob %d\0" % git_size, usedforsecurity=False)

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.size += len(piece)
        self._hash(piece)

    @contextmanager
    def in_background(self) -> Iterator[Callable[[bytes], None]]:
        """Yield an ``add`` that does not wait for hashing; the hashes are complete when the block ends."""
        waiting: Queue[bytes | None] = Queue(_AHEAD)

        def work() -> None:
            while (piece := waiting.get()) is not None:
                self._hash(piece)

        def add(piece: bytes) -> None:
            self.size += len(piece)
            waiting.put(piece)

        thread = Thread(target=work, name="hash", daemon=True)
        thread.start()
        try:
            yield add
        finally:
            waiting.put(None)
            thread.join()

    def _hash(self, piece: bytes) -> None:
        self.sha256.update(piece)
        if self.git is not None:
            self.git.update(piece)


def measure_file(file: Path, check: Callable[[], None] = lambda: None, git_size: int | None = None) -> HashedContent:
    """Hash a local file, or a part of one.

    Args:
        file: the file.
        check: called after each piece; may raise.
        git_size: the size for git's hash, as in :class:`HashedContent`.
    """
    content = HashedContent(git_size)
    with file.open("rb", buffering=0) as stream:
        while piece := stream.read(PIECE):
            check()
            content.add(piece)
    return content
