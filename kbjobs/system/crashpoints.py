"""Named points after every commit and before every external effect, where a test can kill the process.

``KBJOBS_CRASH_AT=NAME:FILE``, which only tests set, kills the first process that reaches the point NAME, and creates
FILE; while FILE exists, no other process is killed. Several such requests are separated by commas.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "KBJOBS_CRASH_AT"


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL, if a test asks for it."""
    requests = os.environ.get(VARIABLE)
    if requests is None:
        return
    for request in requests.split(","):
        wanted, _, marker = request.partition(":")
        if wanted != name:
            continue
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)
