"""The mark by which workers decide whether to start a daemon if they find none.

A daemon creates the mark in the home when it starts, unless a service manager runs and restarts it. Anyone who stops
the daemon removes the mark first, and so does the daemon when it is told to stop: a daemon stopped on purpose stays
stopped, even if the process that stopped it is killed. The next daemon creates the mark again.
"""

from __future__ import annotations

import contextlib
import os

from kbjobs.config.home import Home


def mark_guarded(home: Home, is_guarded: bool) -> None:
    """Set or remove the mark that makes workers start a daemon if they find none."""
    with contextlib.suppress(OSError):  # on a full or read-only disk the mark stays unchanged
        if is_guarded:
            home.guard_mark.touch(mode=0o600)
        else:
            home.guard_mark.unlink(missing_ok=True)


def is_service() -> bool:
    """Whether a service manager started this process, as systemd says in the environment (systemd.exec(5))."""
    return "INVOCATION_ID" in os.environ
