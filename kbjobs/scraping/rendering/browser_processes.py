"""The processes of a browser: finding them by a mark in its command line, their memory, and their end.

Playwright does not tell the id of the browser's process. See proc(5) for the files that are read here.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def find_marked(mark: str) -> int | None:
    """The id of the process whose command line has the argument ``mark``, and which is not a part of a browser."""
    wanted = mark.encode()
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if wanted in words and not any(word.startswith(b"--type=") for word in words):
                    return int(entry.name)
    return None


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return _read_stat(process)[0] not in "ZX"
    except (OSError, IndexError):
        return False


def find_parent(process: int) -> int:
    """The id of a process's parent; 0 if the process is gone."""
    try:
        return int(_read_stat(process)[1])
    except (OSError, ValueError, IndexError):
        return 0


def _read_stat(process: int) -> list[str]:
    """The words of a process's state behind its name, which is in brackets and may contain anything."""
    return (PROC / str(process) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()


def find_tree(root: int) -> list[int]:
    """The ids of a process and of all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            children.setdefault(find_parent(int(entry.name)), []).append(int(entry.name))
    found, left = [], [root]
    while left:
        process = left.pop()
        found.append(process)
        left += children.get(process, ())
    return found


def measure_memory(processes: Iterable[int]) -> int:
    """The bytes of memory that processes have for themselves: without the program's file, which they share."""
    kib = 0
    for process in processes:
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in (PROC / str(process) / "status").read_text("utf-8", "replace").splitlines():
                if line.startswith(("RssAnon:", "RssShmem:")):
                    kib += int(line.split()[1])
    return kib * 1024


def kill_tree(root: int) -> None:
    """Kill a process and all its descendants."""
    for process in find_tree(root):
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)
