"""Whether workers guard the daemon: whether one that finds none is to start another.

A mark in the home says so. A daemon makes it when it starts, unless a service manager runs it and restarts it.
Whoever stops the daemon removes the mark first, and so does the daemon when it is told to stop: what was stopped on
purpose stays stopped, even if the process that stopped it is killed. The next daemon makes the mark again.
"""

from __future__ import annotations

import contextlib
import os

from kbjobs.config.home import Home


def mark_guarded(home: Home, is_guarded: bool) -> None:
    """Say whether the workers are to start a daemon when they find none."""
    with contextlib.suppress(OSError):  # on a full or read-only disk it stays as it is
        if is_guarded:
            home.guard_mark.touch(mode=0o600)
        else:
            home.guard_mark.unlink(missing_ok=True)


def is_service() -> bool:
    """Whether a service manager has started this process: systemd says so in the environment (systemd.exec(5))."""
    return "INVOCATION_ID" in os.environ
