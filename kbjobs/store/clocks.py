"""The clocks and their uses.

The wall clock is for people and their requests ("not before 22:00"). The clock since boot decides whether a process is
alive and how long to wait, because nobody can set it; its readings are valid for one boot only.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path


def now_text() -> str:
    """The current time as the state stores it: UTC, ISO 8601, whole seconds; for people, never for decisions."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def since_boot() -> float:
    """Seconds since boot, the same in all processes, sleep included (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def queued_now() -> float:
    """The time since boot at which a job comes into the queue, as the state stores it: negative.

    Where a job that is not due yet has the time of its next try, such a job is due at once, and its waiting is known.
    """
    return -since_boot()


@cache
def boot_id() -> str:
    """An id that changes at each boot (random(4)); empty if the system does not give one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
