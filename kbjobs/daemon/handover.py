"""Hand the daemon over to a newer program in the same process, so that no client starts another in between."""

from __future__ import annotations

import contextlib
import fcntl
import os

from kbjobs.config.home import Home

VARIABLE = "KBJOBS_START_LOCK"
"""Tells the newer program which file descriptor holds the start lock."""


def keep_start_lock(home: Home) -> None:
    """Take the start lock and keep it while this process becomes another program.

    A client that finds no daemon then waits for the newer one. If a client holds the lock already, the client keeps it.
    """
    descriptor = os.open(home.start_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return
    os.set_inheritable(descriptor, True)
    os.environ[VARIABLE] = str(descriptor)


def give_start_lock(home: Home) -> None:
    """Release the lock that the previous program took with :func:`keep_start_lock`: this program serves now."""
    kept = os.environ.pop(VARIABLE, "")
    if not kept.isdecimal():
        return
    with contextlib.suppress(OSError):  # the descriptor is not open: the variable came from another process
        if os.path.samestat(os.fstat(int(kept)), home.start_lock.stat()):
            os.close(int(kept))
