"""Backing up and restoring a home; during a restore, nothing else may use the home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.daemon.guard import mark_guarded
from kbjobs.errors import ConflictError
from kbjobs.store.backup import create_backup
from kbjobs.store.job_ends import forget_hooks
from kbjobs.store.locks import is_locked, try_lock
from kbjobs.store.queue import Queue
from kbjobs.store.restore import restore_backup
from kbjobs.store.sources import list_sources

__all__ = ["Restored", "create_backup", "restore"]

LOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore: the number of files put back, and each source's paths in the home that are missing."""

    files: int
    missing: dict[str, list[Path]]


def restore(home: Home, file: Path, replace: bool) -> Restored:
    """Restore a backup into the home; everything in it is checked first.

    Args:
        home: the home to restore into.
        file: the backup.
        replace: whether to replace the home's contents.

    Raises:
        ConflictError: a daemon, a worker or a command uses the home, or it is not empty and ``replace`` is False.
        KbjobsError: the file cannot be used; see :func:`kbjobs.store.restore.restore_backup`.
    """
    home.prepare()
    lock = try_lock(home.daemon_lock, LOCK_SECONDS)
    if lock is None:
        raise ConflictError("a daemon is running in this home", "Stop it first: kbjobs daemon stop.")
    try:
        locks = (*home.daemon_lock.parent.glob("run-*.lock"), *home.sources.glob("*/.lock"))
        in_use = [path for path in locks if is_locked(path)]
        if in_use:
            raise ConflictError(
                f"the home is in use: {in_use[0]} is locked",
                "Wait for the worker or command to end, or stop it, then try again.",
            )
        mark_guarded(home, False)  # keeps workers from starting a daemon meanwhile
        names = restore_backup(home, file, replace)
        if home.state_file.exists():
            with Queue(home.state_file) as queue:
                # Their commands ran, or will run, in the home that was backed up.
                forget_hooks(queue, also_taken=True)
    finally:
        lock.release()
    missing = {}
    for source in list_sources(home.sources, lambda source_id, error: None):
        absent = [path for path in map(Path, source.paths) if path.is_relative_to(home.path) and not path.exists()]
        if absent:
            missing[source.id] = absent
    return Restored(len(names), missing)
