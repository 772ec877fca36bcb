"""The number of processor cores that this process may use, and the processor's name."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

_limit: int | None = None


def limit_cores(cores: int) -> None:
    """Cap the core count that this process reports from now on, to its share of a machine."""
    global _limit
    _limit = cores


def count_usable_cores() -> int:
    """Count the cores of the affinity mask, capped by the control group's quota and :func:`limit_cores`; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no control group, or "max": no quota
    return max(1, min(cores, _limit or cores))


def describe_processor() -> str:
    """Name the processor together with a hash of its features, on which the choice of engine depends."""
    name, features = platform.processor() or platform.machine(), ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        match key.strip():
            case "model name":
                name = value.strip()
            case "flags" | "Features":
                features = value.strip()
            case "" if features:
                break
            case _:
                pass
    return f"{name} ({hashlib.sha256(features.encode()).hexdigest()[:8]})"
