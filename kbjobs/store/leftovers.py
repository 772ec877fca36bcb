"""Files that unfinished downloads and killed commands left in the home, until somebody resumes them or time is up."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.system.files import remove_tree

_A_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder that is no longer needed, and the bytes that it takes on the disk."""

    path: Path
    size: int


def find_leftovers(home: Home, days: float) -> list[Leftover]:
    """Find unfinished downloads, and what was being prepared, that nobody has written to for some days.

    Args:
        home: the home.
        days: for how many days.
    """
    limit = time.time() - days * _A_DAY
    found = []
    for path in _candidates(home):
        size, newest = measure_tree(path)
        if newest < limit:
            found.append(Leftover(path, size))
    return found


def remove_leftovers(home: Home, days: float) -> list[Leftover]:
    """Remove what :func:`find_leftovers` finds; returns what was removed. Raises OSError."""
    found = find_leftovers(home, days)
    for one in found:
        remove_tree(one.path)
    return found


def measure_tree(path: Path) -> tuple[int, float]:
    """The bytes that a file or folder takes on the disk, and the time of its newest change (seconds since 1970).

    Links are not followed. What vanishes meanwhile counts as nothing.
    """
    size, newest = 0, 0.0
    waiting = [os.fspath(path)]
    while waiting:
        one = waiting.pop()
        try:
            status = os.lstat(one)
            size += status.st_blocks * 512
            newest = max(newest, status.st_mtime)
            with os.scandir(one) as entries:
                waiting += [entry.path for entry in entries]
        except OSError:  # it is no folder, or it is gone
            continue
    return size, newest


def _candidates(home: Home) -> Iterator[Path]:
    for folder in (home.downloads, home.downloads / "models"):
        if folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path != home.downloads / "models")
    if home.engines.is_dir():
        yield from sorted(path for path in home.engines.iterdir() if path.name.startswith("."))
