"""The mount points of file systems and their types, from the mount table (proc_pid_mountinfo(5))."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MOUNT_TABLE = Path("/proc/self/mountinfo")


def find_file_system(path: Path, table: Path = MOUNT_TABLE) -> str:
    """The type of the file system that holds ``path``, such as ``ext4``; '' without a mount table (not Linux)."""
    real = path.resolve()
    best_depth, kind = -1, ""
    for mount_point, mounted in _read_mounts(table):
        depth = len(mount_point.parts)
        # A later line over-mounts an earlier one of the same depth.
        if real.is_relative_to(mount_point) and depth >= best_depth:
            best_depth, kind = depth, mounted
    return kind


def list_mount_points() -> list[Path]:
    """The mount points that this process can see; empty without a mount table."""
    return [path for path, _ in _read_mounts(MOUNT_TABLE)]


def _read_mounts(table: Path) -> Iterator[tuple[Path, str]]:
    """Yield the mount points and the types of their file systems."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(" - ")
        yield Path(_unescape(left.split(" ")[4])), right.split(" ")[0]


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
