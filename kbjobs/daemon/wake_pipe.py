"""The nudge: one byte through a FIFO wakes the daemon at once; polling is only a fallback."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def nudge(pipe: Path) -> None:
    """Wake the daemon if one listens."""
    # ENXIO: nobody listens. ENOENT: nobody ever did. A full pipe wakes the daemon just as well.
    with contextlib.suppress(OSError):
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"w")
        finally:
            os.close(descriptor)


class WakePipe:
    """The daemon's end of the nudge."""

    def __init__(self, path: Path) -> None:
        # Always recreated: the path may hold a plain file.
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        # Read and write, so that the pipe never reads as closed when the last client leaves.
        self.descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def drain(self) -> None:
        """Forget all nudges so far."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.descriptor, 4096):
                pass

    def close(self) -> None:
        """Stop listening."""
        os.close(self.descriptor)
