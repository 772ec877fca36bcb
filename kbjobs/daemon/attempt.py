"""One try of a job by a worker, how it ended, and writes that survive a full disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kbjobs.chains.progress import Progress
from kbjobs.chains.runner import ChainResult
from kbjobs.config.home import Home
from kbjobs.daemon.programs import InstalledProgram
from kbjobs.daemon.progress_writer import ProgressWriter
from kbjobs.errors import TransientError, UnavailableError
from kbjobs.store.connection import NewerFormatError, is_disk_full
from kbjobs.store.jobs import Job
from kbjobs.store.phase_state import first_open
from kbjobs.store.queue import Queue
from kbjobs.store.state import STATE_VERSION

Written = TypeVar("Written")


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """One try of a job by this worker; its run's id fences it."""

    home: Home
    queue: Queue
    job: Job
    run_id: str
    writer: ProgressWriter
    program: InstalledProgram
    stop: threading.Event

    def is_stopping(self) -> bool:
        """Whether the job must stop: the daemon stops, or the job was paused, was cancelled or is out of time."""
        return self.stop.is_set() or self.writer.stop_requested.is_set() or self.writer.time_limit_reached.is_set()

    def retried(self, index: int) -> int:
        """How often the phase has been retried."""
        return self.job.retried if index == first_open(self.job.phases) else 0

    def can_retry(self, index: int) -> bool:
        """Whether a transient error of the phase leads to another try."""
        own = self.job.phases[index].retries
        return self.retried(index) < (self.job.retries if own is None else own)

    def passes(self, index: int, error: BaseException) -> bool:
        """Whether an error leaves the phase to be tried again."""
        return (isinstance(error, TransientError) and self.can_retry(index)) or self.is_mixed(error)

    def is_mixed(self, error: BaseException) -> bool:
        """Whether the job failed because a newer program was installed, or has written the files, in the meantime."""
        if isinstance(error, NewerFormatError):
            return self.queue.state_version() > STATE_VERSION or self.program.is_replaced(at_once=True)
        return self.program.is_to_blame(error)


@dataclass(slots=True)
class WorkOutcome:
    """How the work ended, until it is recorded."""

    progress: Progress | None = None
    result: ChainResult | None = None
    error: BaseException | None = None


def write_despite_full_disk(home: Home, write: Callable[[], Written]) -> Written:
    """Write something that must survive a full disk: the home's reserve is freed for it."""
    try:
        return write()
    except (sqlite3.Error, UnavailableError) as error:
        if not finds_disk_full(error):
            raise
        home.give_up_reserve()
        return write()


def finds_disk_full(error: BaseException) -> bool:
    """Whether an error, or its cause, means that the disk is full."""
    return is_disk_full(error) or is_disk_full(error.__cause__)
