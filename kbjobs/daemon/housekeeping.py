"""Once a day the daemon removes what is older than ``history_days``, as ``kbjobs prune`` does."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import KbjobsError
from kbjobs.formatting import counted
from kbjobs.store.job_pruning import prune_jobs
from kbjobs.store.leftovers import remove_leftovers
from kbjobs.store.queue import Queue
from kbjobs.system.crashpoints import crash_point

A_DAY = 86_400.0
PAUSE_SECONDS = 0.5  # between two batches of deletions: others write to the state too

log = logging.getLogger("kbjobs.daemon")


class Housekeeping:
    """Starts the daily deletion in a thread, also if the daemon is restarted every hour.

    The time of the last one is that of a file in the home, written when it has ended: a killed one is done again.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._looked_at = 0.0
        self._thread: threading.Thread | None = None

    def start_if_due(self) -> None:
        """Start it if the last one was more than a day ago, or never."""
        now = time.time()
        # The clock may have been set back; then the file seems to be from the future.
        if 0 <= now - self._looked_at < A_DAY or (self._thread is not None and self._thread.is_alive()):
            return
        self._looked_at = now
        try:
            last = self._home.housekeeping_mark.stat().st_mtime
        except OSError:
            last = 0.0
        if not 0 <= now - last < A_DAY:
            self._thread = threading.Thread(
                target=forget_old_jobs, args=(self._home,), name="housekeeping", daemon=True
            )
            self._thread.start()
        else:
            self._looked_at = last


def forget_old_jobs(home: Home) -> None:
    """Delete old jobs, their logs, checkpoints and downloads that nobody resumed. Errors are logged."""
    deleted = 0
    try:
        days = Settings(home).number("history_days")
        with Queue(home.state_file) as queue:
            while jobs := prune_jobs(home, queue, days):
                deleted += len(jobs)
                crash_point("housekeeping.batch")
                time.sleep(PAUSE_SECONDS)
            checkpoints = len(queue.delete_stale_checkpoints(days))
        leftovers = remove_leftovers(home, days)
        home.housekeeping_mark.touch(mode=0o600)
    except (OSError, sqlite3.Error, KbjobsError) as error:
        log.warning("old jobs could not be deleted: %s", error)
        return
    for one in leftovers:
        log.info("%s, %s MB, deleted: nobody resumed it", one.path, f"{one.size / 1e6:,.1f}")
    if deleted or checkpoints:
        told = f"{counted(deleted, 'job')} and {counted(checkpoints, 'checkpoint')}"
        log.info("%s older than %g days deleted (history_days)", told, days)
