"""Which clock is asked for what.

The wall clock is for people and for what they ask for ("not before 22:00"). Whether a process lives and how long
to wait is measured by the clock since boot, which nobody can set; its readings hold for one boot only.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path


def now_text() -> str:
    """The time as the state holds it: UTC, ISO 8601, whole seconds; for people only, never for a decision."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def since_boot() -> float:
    """Seconds since boot, the same in all processes, sleep included (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@cache
def boot_id() -> str:
    """Another one after each boot (random(4)); empty if the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
