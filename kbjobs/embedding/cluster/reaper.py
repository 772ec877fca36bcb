"""The reaper: a process that outlives the owner of a local Ray cluster, and cleans up after it.

Ray's own processes end with the owner, even if it is killed, except the raylet's agents, which stay for more than a
minute. They rewrite their environment, so it does not identify them; their open files in the cluster's folder do. Run
as a program with that folder and the owner's PID as arguments; it acts when its standard input ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path


def find_users(folder: Path) -> list[int]:
    """List the processes that have files open in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # processes may end during the search, and other users' cannot be read
            links = (descriptor.readlink() for descriptor in (process / "fd").iterdir())
            if any(link.is_relative_to(folder) for link in links):
                found.append(int(process.name))
    return found


def main() -> None:
    """Wait for the end of standard input, kill what is left, remove the folder."""
    folder, owner = Path(sys.argv[1]), int(sys.argv[2])
    sys.stdin.buffer.read()
    for process in find_users(folder):
        if process == owner:  # it is alive, and keeps its log open there to the end
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
