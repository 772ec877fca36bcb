"""One process per running job: it takes the job's locks, runs its phases, and records how they ended.

The daemon starts it as ``python -m kbjobs.daemon.worker HOME JOB_ID SLOTS`` with the run's id in the environment, in a
session and process group of its own, with its output in the attempt's log. After a clean end it may take the next job.
"""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kbjobs.chains.progress import Past, Progress
from kbjobs.chains.runner import Phase, run_chain
from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context
from kbjobs.daemon.attempt import RunningAttempt, WorkOutcome, finds_disk_full, write_despite_full_disk
from kbjobs.daemon.legacy_daemon import start_successor
from kbjobs.daemon.next_jobs import NextJobs, WorkerProcess, switch_output
from kbjobs.daemon.processes import RUN_VARIABLE
from kbjobs.daemon.programs import InstalledProgram
from kbjobs.daemon.progress_writer import DISK_FULL, LOST, ProgressWriter, stop_at_once
from kbjobs.daemon.recording import record_outcome
from kbjobs.daemon.revival import DaemonGuard
from kbjobs.daemon.wake_pipe import nudge
from kbjobs.errors import (
    JobCancelled,
    UnavailableError,
)
from kbjobs.phases.registry import job_type
from kbjobs.store import history
from kbjobs.store.jobs import Job, Work
from kbjobs.store.locks import try_lock
from kbjobs.store.phase_state import first_open
from kbjobs.store.queue import Queue, StaleWorkerError
from kbjobs.store.sources import SourceFolder
from kbjobs.store.state import OlderDaemonError
from kbjobs.system.crashpoints import crash_point

STOPPED_SECONDS = 60.0  # for an older daemon, and with it its workers, to be stopped
LOCK_SECONDS = 1.0  # between two checks of whether to stop waiting for the source

log = logging.getLogger("kbjobs.worker")


def run_jobs(home: Home, job_id: int, run_id: str, process: WorkerProcess) -> int:
    """Run a claimed job to its end, or to a checkpoint once it must stop; then the jobs that may follow it.

    Args:
        home: the home of the job's state.
        job_id: the job.
        run_id: the run that claimed it.
        process: what this process was started with.

    Returns:
        The exit status of the process: 0, or LOST if the run has ended or another process works on it.

    Raises:
        OlderDaemonError: the state was written by a newer program than the daemon's.
        UnavailableError: the state cannot be opened or written.
    """
    own_lock = try_lock(home.worker_lock(run_id), 0)
    if own_lock is None:
        log.error("run %s is already being worked on", run_id)
        return LOST
    crash_point("worker.locked")
    program = InstalledProgram()
    queue = write_despite_full_disk(home, partial(Queue, home.state_file))
    try:
        job = queue.get(job_id)
        if job.run_id != run_id:
            log.error("run %s of job %d has ended", run_id, job_id)
            return LOST
        following = NextJobs(home, process, program)
        taken: tuple[Job, str] | None = (job, run_id)
        while taken is not None:
            job, run = taken
            attempt = RunningAttempt(home, queue, job, run, ProgressWriter(home, job, run), program, process.stop)
            taken = following.take(queue, job, run) if _run_to_end(attempt) else None
            if taken is not None:
                nudge(home.wake_pipe)  # another job may need what the last one held, and a command may be due
    finally:
        queue.close()
        own_lock.release()
        home.worker_lock(run_id).unlink(missing_ok=True)
        nudge(home.wake_pipe)
    return 0


def _run_to_end(attempt: RunningAttempt) -> bool:
    """Run a job and record how it ended. Returns whether it ended cleanly."""
    home, queue = attempt.home, attempt.queue
    write_despite_full_disk(home, partial(queue.set_pid, attempt.job.id, attempt.run_id, os.getpid()))
    crash_point("worker.named")
    write_despite_full_disk(home, attempt.writer.start)
    try:
        outcome = _work(attempt)
    finally:
        attempt.writer.stop()
    crash_point("worker.before_finish")
    write_despite_full_disk(home, partial(record_outcome, attempt, outcome))
    crash_point("worker.finished")
    return outcome.error is None and outcome.result is not None and outcome.result.is_whole


def _work(attempt: RunningAttempt) -> WorkOutcome:
    outcome, home, job, writer = WorkOutcome(), attempt.home, attempt.job, attempt.writer
    try:
        phases = [
            Phase(kind, kind.params.model_validate(phase.params), phase.on_error)
            for phase in job.phases
            for kind in [job_type(phase.job)]
        ]
        pasts = find_pasts(attempt.queue, job)
        outcome.progress = Progress(job.phases, writer.report, writer.saved, job.progress, pasts)
        settings = Settings(home)
        source = None if job.source is None else SourceFolder(home.sources, job.source)
        is_read = any(phase.job_type.target.reads_source for phase in phases)
        if is_read:
            assert source is not None  # noqa: S101 — the submit has seen to it
            if not phases[0].job_type.target.makes_source or source.manifest.exists():
                source.read()
        inner = attempt.queue.open_checkpoint(job, attempt.run_id)
        crash_point("checkpoint.opened")
        run = _Run(attempt, settings, outcome.progress, source, inner)
        with ExitStack() as locks:
            locks.enter_context(_lock_source(source, attempt.is_stopping, is_ending=job.ends_source and not is_read))
            for other in _list_others(home, phases):
                locks.enter_context(_lock_source(other, attempt.is_stopping, is_ending=False))
            crash_point("worker.source_locked")
            if is_read and source is not None and source.manifest.exists():
                source.update_manifest()
            outcome.result = run_chain(phases, run.progress, run.make_context, run.end_phase, attempt.passes, log)
    except StaleWorkerError:
        stop_at_once()
    except (Exception, SystemExit) as error:  # noqa: BLE001 — recorded and shown, whatever it is
        outcome.error = error
    return outcome


@dataclass(frozen=True, slots=True)
class _Run:
    """Provides the context of each phase of an attempt, and records the progress of the phases.

    ``inner`` is the checkpoint's content of the phase that was running when it was saved.
    """

    attempt: RunningAttempt
    settings: Settings
    progress: Progress
    source: SourceFolder | None
    inner: Any

    def make_context(self, index: int, phase: Phase) -> Context:
        """Make the context of the phase at an index, and mark that phase as running."""
        attempt, job = self.attempt, self.attempt.job
        attempt.writer.works_on(Work(job.phases[index].dimension, phase.job_type.operation))
        return Context(
            attempt.home,
            self.settings,
            self.source,
            job.id,
            self.progress,
            attempt.is_stopping,
            log,
            self.inner if index == first_open(job.phases) else None,
            self._keep,
            self._end_source,
        )

    def end_phase(self) -> None:
        """Record the end of a phase."""
        crash_point("phase.before_record")
        attempt, progress = self.attempt, self.progress
        with attempt.writer.writing:
            attempt.queue.end_phase(attempt.job.id, attempt.run_id, progress.snapshot(), progress.percentage)
            progress.report_phases()
        crash_point("phase.recorded")

    def _keep(self, value: Any) -> None:
        self.attempt.queue.save_inner(self.attempt.job.id, self.attempt.run_id, value)
        crash_point("checkpoint.saved")

    def _end_source(self, value: Any) -> None:
        attempt = self.attempt
        write_despite_full_disk(attempt.home, partial(attempt.queue.end_source, attempt.job.id, attempt.run_id, value))
        crash_point("source.ended")


def find_pasts(queue: Queue, job: Job) -> dict[int, Past]:
    """Find how long a similar phase of each kind last took, preferably on the same source."""
    known = history.last_runs(queue, {history.kind_of(phase) for phase in job.phases}, job.source)
    return {
        index: Past(last.seconds or 0.0, last.rate, last.unit or "")
        for index, phase in enumerate(job.phases)
        if (last := known.get(history.place_of(phase)) or known.get(history.kind_of(phase))) is not None
    }


def _list_others(home: Home, phases: Sequence[Phase]) -> list[SourceFolder]:
    """Existing additional sources that the phases work on, in lock order, so that no two workers deadlock."""
    names = sorted({name for phase in phases for name in phase.job_type.works_on(phase.params)})
    folders = [SourceFolder(home.sources, name) for name in names]
    return [folder for folder in folders if folder.manifest.exists()]


def _lock_source(
    source: SourceFolder | None, is_stopping: Callable[[], bool], is_ending: bool
) -> AbstractContextManager[Any]:
    """Take the source's lock, however long a command such as ``sources rebuild`` keeps it.

    ``is_ending``: the job only ends the source. Then no lock is created behind a symbolic link, nor among the files
    that are kept of a deleted source.
    """
    if source is None or not source.path.is_dir():
        return nullcontext()
    has_own_folder = source.manifest.exists() and not source.path.is_symlink()
    if is_ending and not has_own_folder and not source.lock.exists():
        return nullcontext()
    while (lock := try_lock(source.lock, LOCK_SECONDS)) is None:
        log.info("source %s is in use by another process: waiting", source.id)
        if is_stopping():
            raise JobCancelled("stopped while waiting for the source")
    return lock


def main() -> None:
    """Run the worker's process."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    os.umask(0o077)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    home, job_id, run_id = Home(Path(sys.argv[1])), int(sys.argv[2]), os.environ[RUN_VARIABLE]
    slots = int(sys.argv[3]) if len(sys.argv) > 3 else 0  # the daemon of an earlier kbjobs gives none
    process = WorkerProcess(stop, slots, lambda pid: pid == os.getppid(), switch_output)
    try:
        with DaemonGuard(home):
            status = run_jobs(home, job_id, run_id, process)
    except OlderDaemonError as error:  # the worker belongs to a newer program than its daemon
        log.warning("%s: it is replaced, and the job goes on then", error.message)
        start_successor(home)
        stop.wait(STOPPED_SECONDS)
        status = LOST
    except (sqlite3.Error, OSError, UnavailableError) as error:
        if not finds_disk_full(error):
            raise
        log.error("the disk of %s is full: nothing can be recorded", home.path)
        status = DISK_FULL
    sys.exit(status)


if __name__ == "__main__":
    main()
