"""The jobs that a worker process takes after its first: another process would cost 0.2 s to start.

Only after a clean end of a job whose type allows it, and only the job that the daemon would start now in its place: the
next of the queue, if it is of the same type and a slot is free. It has a run, a log and locks of its own.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.config.run_ids import later_run_id, worker_of
from kbjobs.daemon.launching import is_running
from kbjobs.daemon.processes import processes_of_run
from kbjobs.daemon.programs import InstalledProgram
from kbjobs.phases.registry import job_type
from kbjobs.store.jobs import Job
from kbjobs.store.queue import Queue
from kbjobs.store.state import STATE_VERSION
from kbjobs.system.crashpoints import crash_point

MOST_JOBS = 50  # of one process: whatever libraries leak does not add up
MOST_SECONDS = 300.0  # after which a process takes no other job


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """What a worker process was started with.

    ``stop`` is set once it must stop. ``slots`` is the number of jobs that its daemon runs at the same time; 0 if the
    daemon does not know workers that run several jobs. ``is_daemon`` tells whether the process with a PID is the daemon
    that started this one. ``switch_log`` sends all further output to a file.
    """

    stop: threading.Event
    slots: int
    is_daemon: Callable[[int], bool]
    switch_log: Callable[[Path], None]


class NextJobs:
    """Claims further jobs for one worker process."""

    def __init__(self, home: Home, process: WorkerProcess, program: InstalledProgram) -> None:
        self._home, self._process, self._program = home, process, program
        self._started = time.monotonic()
        self._runs = 1

    def take(self, queue: Queue, ended: Job, run_id: str) -> tuple[Job, str] | None:
        """Claim the job that follows one that has ended cleanly.

        Args:
            queue: the queue.
            ended: the job that has ended.
            run_id: its run.

        Returns:
            The job and its run; None if this process must end.

        Raises:
            OSError: the log of the claimed job cannot be opened.
        """
        if self._runs >= MOST_JOBS or time.monotonic() - self._started >= MOST_SECONDS:
            return None
        if not (_shares_worker(ended) and self._has_daemon(queue)) or processes_of_run(run_id):
            return None
        self._runs += 1
        # Tells the daemon that this process is not stuck after its last job.
        os.utime(self._home.worker_lock(run_id))
        if self._process.stop.is_set():
            return None
        next_run = later_run_id(worker_of(run_id), self._runs)
        job = queue.claim(next_run, self._process.slots, ended.type)
        if job is None:
            return None
        crash_point("worker.claimed_next")
        self._process.switch_log(self._home.log_file(job.id, job.attempt))
        return job, next_run

    def _has_daemon(self, queue: Queue) -> bool:
        """Whether the daemon that started this process serves the home, and both run the program that is installed."""
        if self._program.is_replaced() or queue.state_version() > STATE_VERSION:
            return False
        described = queue.daemon()
        return described is not None and self._process.is_daemon(described.pid) and is_running(self._home)


def _shares_worker(job: Job) -> bool:
    return [phase.job for phase in job.phases] == [job.type] and job_type(job.type).shares_worker


def switch_output(path: Path) -> None:
    """Send the standard output and error of this process to the end of a file.

    Raises OSError if it cannot be opened.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number in (1, 2):
            os.dup2(descriptor, number)
    finally:
        os.close(descriptor)
