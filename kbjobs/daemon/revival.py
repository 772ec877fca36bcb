"""A worker that finds no daemon starts one: pending jobs, and workers that die later, need it."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time

from kbjobs.config.home import Home
from kbjobs.daemon.guard import is_service
from kbjobs.daemon.launching import ensure_daemon, is_running
from kbjobs.errors import KbjobsError
from kbjobs.store.queue import Queue

LOOK_SECONDS = 3.0  # between two looks at the daemon's lock
MAX_SECONDS = 60.0  # the same after a daemon could not start; the pause doubles up to this
LAST_SECONDS = 3.0  # for the daemon to start the next worker, which then looks itself
LAST_LOOK_SECONDS = 0.05

log = logging.getLogger("kbjobs.worker")


class DaemonGuard:
    """A thread of a worker that checks whether the daemon lives, and starts one if it does not.

    Used as a context. At its end it keeps looking until another job's worker does, or until no job is pending: if a
    daemon died between two workers, nobody would be left to start another.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._inode = self._state_inode()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="daemon-guard", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        pause = LOOK_SECONDS
        while not self._ended.wait(pause):
            pause = LOOK_SECONDS if self._look() else min(2 * pause, MAX_SECONDS)
        deadline = time.monotonic() + LAST_SECONDS
        while self._look() and self._is_last() and time.monotonic() < deadline:
            time.sleep(LAST_LOOK_SECONDS)

    def _look(self) -> bool:
        """Start a daemon if one is needed. Returns False if it could not be started."""
        try:
            if is_running(self._home) or is_service() or not self._is_wanted():
                return True
            if ensure_daemon(self._home, self._is_wanted):
                log.info("no daemon was running; it has been started")
        except (KbjobsError, OSError) as error:
            log.warning("no daemon is running, and it could not be started: %s", error)
            return False
        return True

    def _is_last(self) -> bool:
        """Whether jobs wait for a daemon, and no other worker watches it."""
        if not self._is_wanted():
            return False
        try:
            with Queue(self._home.state_file) as queue:
                return queue.count_pending() > 0 and not any(job.pid for job in queue.running())
        except (KbjobsError, sqlite3.Error):
            return False

    def _is_wanted(self) -> bool:
        # Never in a home that was deleted, or if the state file was replaced by another.
        return self._home.guard_mark.exists() and self._state_inode() == self._inode

    def _state_inode(self) -> int | None:
        try:
            return self._home.state_file.stat().st_ino
        except FileNotFoundError:
            return None
