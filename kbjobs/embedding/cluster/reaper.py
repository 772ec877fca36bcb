"""A process that outlives the one for which a local Ray cluster was started, and clears up after it.

Ray's own processes end with that one, killed or not, but for the agents of the raylet, which stay for more than a
minute; and since they rewrite their environment, nobody finds them by it. What they have open in the cluster's folder
tells whose they are. Run as a program with that folder and the process it serves as arguments; it is started by the
end of its standard input.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path


def find_users(folder: Path) -> list[int]:
    """The processes that have something open in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # they end while we look, and those of others may not be read
            links = (descriptor.readlink() for descriptor in (process / "fd").iterdir())
            if any(link.is_relative_to(folder) for link in links):
                found.append(int(process.name))
    return found


def main() -> None:
    """Wait for the end, kill what is left, remove the folder."""
    folder, owner = Path(sys.argv[1]), int(sys.argv[2])
    sys.stdin.buffer.read()
    for process in find_users(folder):
        if process == owner:  # it lives, and has its log open there to its end
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
