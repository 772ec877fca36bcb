"""A worker's reports: progress, and with it the heartbeat that tells the daemon that the worker is alive."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace
from typing import NoReturn

from kbjobs.config.home import Home
from kbjobs.store.jobs import Job, Report, Work
from kbjobs.store.queue import Queue, StaleWorkerError

WRITE_SECONDS = 0.3  # between two writes of progress, and two looks for a request to cancel or to pause
DISK_FULL = 73  # exit status of a worker that could not record anything
LOST = 70  # exit status of a worker whose run somebody else has ended

log = logging.getLogger("kbjobs.worker")


def stop_at_once() -> NoReturn:
    """End a process whose run was declared dead. It may change nothing more, not even through clean-up code."""
    log.error("this run was declared dead: stopping at once, changing nothing")
    os._exit(LOST)


class ProgressWriter:
    """A thread that writes the newest report to the state and reads requests to cancel or to pause.

    It has its own connection, without a sync to disk at each write: a power cut may lose progress. Code that records
    the end of a phase holds ``writing``, so that no older report overwrites it.
    """

    def __init__(self, home: Home, job: Job, run_id: str) -> None:
        self._home, self._job, self._run_id = home, job, run_id
        self._started = time.monotonic()
        self._report: Report | None = None
        self._work: Work | None = None
        self._steps = 0
        self._lock = threading.Lock()
        self.writing = threading.Lock()
        self._ended = threading.Event()
        self.stop_requested = threading.Event()
        self.time_limit_reached = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress-writer", daemon=True)

    @property
    def duration(self) -> float:
        """Seconds of all attempts, by the monotonic clock."""
        return self._job.duration + time.monotonic() - self._started

    def start(self) -> None:
        """Begin to write. Raises what opening the state raises."""
        self._queue = Queue(self._home.state_file)
        self._queue.relax_durability()
        self._thread.start()

    def stop(self) -> None:
        """Write the last report and end."""
        self._ended.set()
        self._thread.join()

    def report(self, report: Report) -> None:
        """Take the newest report."""
        with self._lock:
            self._report = report

    def works_on(self, work: Work) -> None:
        """Take what the running phase works on."""
        with self._lock:
            self._work = work

    def saved(self, steps: int) -> None:
        """Count steps that are safe on disk."""
        with self._lock:
            self._steps += steps

    def _run(self) -> None:
        queue, saved = self._queue, self._job.saved
        last = False
        while not last:
            last = self._ended.wait(WRITE_SECONDS)
            if replace(self._job, duration=self.duration).is_out_of_time():
                self.time_limit_reached.set()
            try:
                with self.writing:
                    with self._lock:
                        report, steps, work = self._report, self._steps, self._work
                    is_to_stop = queue.record_progress(
                        self._job.id, self._run_id, saved + steps, self.duration, report, work
                    )
                if is_to_stop:
                    self.stop_requested.set()
            except StaleWorkerError:
                stop_at_once()
            except Exception as error:  # noqa: BLE001 — whatever a phase reports, the heartbeat must continue
                # Progress is not worth the job's life; the job itself will hit a full disk.
                log.warning("progress was not written: %s", error)
        queue.close()
