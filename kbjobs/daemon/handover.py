"""From a daemon to the one of a newer program, in the same process: no client starts another one in between."""

from __future__ import annotations

import contextlib
import fcntl
import os

from kbjobs.config.home import Home

VARIABLE = "KBJOBS_START_LOCK"
"""Tells the newer program by which open file the start lock is kept."""


def keep_start_lock(home: Home) -> None:
    """Take the start lock and keep it when this process goes on as another program.

    A client that finds no daemon then waits for the newer one. Where a client holds the lock, it is left to it.
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
    """Release what :func:`keep_start_lock` of the program before has kept: this one serves now."""
    kept = os.environ.pop(VARIABLE, "")
    if not kept.isdecimal():
        return
    with contextlib.suppress(OSError):  # no such file is open: the variable is of another process
        if os.path.samestat(os.fstat(int(kept)), home.start_lock.stat()):
            os.close(int(kept))
