"""Kernel file locks: the process that holds one is alive, because the kernel frees the lock when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kbjobs.errors import ConflictError, NotFoundError
from kbjobs.store.sources import SourceFolder

if TYPE_CHECKING:
    from filelock import FileLock  # loaded when a lock is made: who only asks for one starts sooner

__all__ = ["is_held_by", "is_locked", "lock_registered", "lock_source", "new_lock", "try_lock"]


def new_lock(path: Path) -> FileLock:
    """Create a lock on ``path`` without taking it; only the user can read its file."""
    from filelock import FileLock

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return FileLock(path, mode=0o600)


def try_lock(path: Path, seconds: float) -> FileLock | None:
    """Take the lock, waiting at most ``seconds``; None if another process holds it."""
    from filelock import Timeout

    lock = new_lock(path)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.02)
    except Timeout:
        return None
    return lock


def lock_source(path: Path, source_id: str, seconds: float) -> FileLock:
    """Take a source's lock.

    Args:
        path: the lock's file.
        source_id: the source, for the message.
        seconds: how long to wait.

    Raises:
        ConflictError: another process holds the lock.
    """
    lock = try_lock(path, seconds)
    if lock is None:
        raise ConflictError(
            f"source {source_id!r} is in use by another process",
            "kbjobs status shows what runs on it; wait for it, or cancel it.",
        )
    return lock


def lock_registered(source: SourceFolder, seconds: float) -> FileLock:
    """Take a registered source's lock; raises ConflictError, or NotFoundError if it was deleted meanwhile."""
    lock = lock_source(source.lock, source.id, seconds)
    if os.path.lexists(source.manifest):
        return lock
    lock.release()
    with contextlib.suppress(OSError):  # taking the lock created the folder again
        source.lock.unlink(missing_ok=True)
        source.path.rmdir()
    raise NotFoundError(f"source {source.id!r} was deleted meanwhile", "See kbjobs sources list.")


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock. The test takes a shared lock, so that two tests do not block each other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_held_by(pid: int, lock: Path) -> bool:
    """Whether a process has the lock's file open; a recorded PID may belong to another program by now."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    held = lock.resolve()
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # it may be closed meanwhile
            if descriptor.readlink() == held:
                return True
    return False
