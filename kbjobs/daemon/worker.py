"""One process per running job: it takes the job's locks, runs its phases, and records how they ended.

The daemon starts it as ``python -m kbjobs.daemon.worker HOME JOB_ID`` with the run's id in the environment, in a
session and process group of its own, with its output in the attempt's log.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from kbjobs.chains.progress import Past, Progress
from kbjobs.chains.runner import ChainResult, Phase, run_chain
from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context
from kbjobs.daemon.legacy_daemon import start_successor
from kbjobs.daemon.processes import RUN_VARIABLE
from kbjobs.daemon.programs import InstalledProgram
from kbjobs.daemon.progress_writer import DISK_FULL, LOST, ProgressWriter, stop_at_once
from kbjobs.daemon.revival import DaemonGuard
from kbjobs.daemon.wake_pipe import nudge
from kbjobs.errors import (
    ExitCode,
    JobCancelled,
    JobInterrupted,
    JobWaits,
    KbjobsError,
    TransientError,
    UnavailableError,
)
from kbjobs.phases.registry import job_type
from kbjobs.store import history
from kbjobs.store.connection import NewerFormatError, explain, is_disk_full
from kbjobs.store.jobs import Job, Work
from kbjobs.store.locks import try_lock
from kbjobs.store.phase_state import PhaseStatus, first_open
from kbjobs.store.queue import Queue, StaleWorkerError
from kbjobs.store.runs import OUT_OF_TIME, REPLACED, RunOutcome
from kbjobs.store.sources import SourceFolder
from kbjobs.store.state import STATE_VERSION, OlderDaemonError
from kbjobs.store.transitions import Event
from kbjobs.system.crashpoints import crash_point

STOPPED_SECONDS = 60.0  # for an older daemon, and with it its workers, to be stopped
LOCK_SECONDS = 1.0  # between two checks of whether to stop waiting for the source

log = logging.getLogger("kbjobs.worker")

Written = TypeVar("Written")


def run_job(home: Home, job_id: int, run_id: str, stop: threading.Event) -> int:
    """Run a claimed job to its end, or to a checkpoint once it must stop.

    Args:
        home: the home of the job's state.
        job_id: the job.
        run_id: the run that claimed it.
        stop: set from outside if the job must stop.

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
    queue = _write(home, partial(Queue, home.state_file))
    try:
        job = queue.get(job_id)
        if job.run_id != run_id:
            log.error("run %s of job %d has ended", run_id, job_id)
            return LOST
        _write(home, partial(queue.set_pid, job_id, run_id, os.getpid()))
        crash_point("worker.named")
        attempt = _Attempt(home, queue, job, run_id, ProgressWriter(home, job, run_id), program, stop)
        _write(home, attempt.writer.start)
        try:
            outcome = _work(attempt)
        finally:
            attempt.writer.stop()
        crash_point("worker.before_finish")
        _write(home, partial(_record, attempt, outcome))
        crash_point("worker.finished")
    finally:
        queue.close()
        own_lock.release()
        home.worker_lock(run_id).unlink(missing_ok=True)
        nudge(home.wake_pipe)
    return 0


@dataclass(frozen=True, slots=True)
class _Attempt:
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
class _Outcome:
    """How the work ended, until it is recorded."""

    progress: Progress | None = None
    result: ChainResult | None = None
    error: BaseException | None = None


def _work(attempt: _Attempt) -> _Outcome:
    outcome, home, job, writer = _Outcome(), attempt.home, attempt.job, attempt.writer
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

    attempt: _Attempt
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
        _write(attempt.home, partial(attempt.queue.end_source, attempt.job.id, attempt.run_id, value))
        crash_point("source.ended")


def _write(home: Home, write: Callable[[], Written]) -> Written:
    """Write something that must survive a full disk: the home's reserve is freed for it."""
    try:
        return write()
    except (sqlite3.Error, UnavailableError) as error:
        if not _finds_disk_full(error):
            raise
        home.give_up_reserve()
        return write()


def _finds_disk_full(error: BaseException) -> bool:
    return is_disk_full(error) or is_disk_full(error.__cause__)


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


def _explain(error: BaseException, home: Path) -> KbjobsError | None:
    """Turn an error into one for people; None if it was unexpected."""
    if isinstance(error, KbjobsError):
        return error
    if isinstance(error, MemoryError) or "can't start new thread" in str(error):  # Python's words for either limit
        return UnavailableError(
            "the job does not have enough memory or threads",
            "Free some memory, run fewer jobs at once (kbjobs config set workers 1), or raise the limits under which"
            " the daemon was started (ulimit -v, ulimit -u) and restart it.",
        )
    if isinstance(error, sqlite3.Error) or is_disk_full(error):
        return explain(error, Path(getattr(error, "filename", None) or home))  # type: ignore[arg-type]
    if isinstance(error, OSError) and error.filename:
        return KbjobsError(f"{error.filename}: {error.strerror}", "Check that it can be read and written.")
    return None


def backoff(first: float, retried: int) -> float:
    """Seconds to wait after the given number of retries: doubling, at most an hour, then varied by up to half.

    The jitter keeps jobs that hit the same outage from returning together.
    """
    return min(first * 2.0**retried, 3600.0) * random.uniform(0.5, 1.5)  # noqa: S311 — no secret


def _record(attempt: _Attempt, outcome: _Outcome) -> None:
    phases = outcome.progress.snapshot() if outcome.progress is not None else None
    running = next((index for index, one in enumerate(phases or ()) if one.status is PhaseStatus.RUNNING), 0)
    queue, job, error = attempt.queue, attempt.job, outcome.error
    finish = partial(queue.finish, job.id, attempt.run_id, duration=attempt.writer.duration)
    if error is None:
        result = outcome.result
        assert result is not None  # noqa: S101
        code = ExitCode.DONE if result.is_whole else ExitCode.PARTIAL
        finish(RunOutcome(Event.COMPLETE, code, result.summary), result.counts, phases=result.phases)
        log.info("done: %s", result.summary)
    elif isinstance(error, JobCancelled):
        if queue.get(job.id).cancel_requested:
            finish(RunOutcome(Event.CANCEL, ExitCode.CANCELLED, "cancelled; what was done is kept"), phases=phases)
            log.info("cancelled")
        elif attempt.writer.time_limit_reached.is_set():
            finish(OUT_OF_TIME, phases=phases)
            log.info("time limit reached")
        else:
            queue.release(job.id, attempt.run_id)
            log.info("stopped by the daemon, or for a pause; the job waits in the queue")
    elif attempt.is_mixed(error):
        queue.release(job.id, attempt.run_id, REPLACED)
        log.warning("kbjobs was replaced while the job ran, which goes on with the newer one: %s", error)
    elif isinstance(error, JobWaits):
        queue.wait(job.id, attempt.run_id, error.seconds, error.message, attempt.writer.duration)
        log.info("%s; the place in the queue is given to others for %.0f s", error.message, error.seconds)
    elif isinstance(error, TransientError) and phases and attempt.can_retry(running):
        pause = backoff(Settings(attempt.home).number("retry_seconds"), attempt.retried(running))
        queue.postpone(job.id, attempt.run_id, pause, error.message, attempt.writer.duration)
        log.warning("%s; tried again in %.0f s", error.message, pause)
    else:
        log.error("failed: %s", error, exc_info=error)
        finish(_describe_failure(error, queue.path.parent, job.id), phases=phases)


def _describe_failure(error: BaseException, home: Path, job_id: int) -> RunOutcome:
    known = _explain(error, home)
    text = (known.message if known else f"{type(error).__name__}: {error}").strip()
    hint = known.hint if known else f"The traceback is in the log: kbjobs logs {job_id}"
    event = Event.INTERRUPT if isinstance(error, JobInterrupted) else Event.FAIL
    return RunOutcome(event, known.exit_code if known else ExitCode.FAILED, text, f"{text}\n{hint}")


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
    try:
        with DaemonGuard(home):
            status = run_job(home, job_id, run_id, stop)
    except OlderDaemonError as error:  # the worker belongs to a newer program than its daemon
        log.warning("%s: it is replaced, and the job goes on then", error.message)
        start_successor(home)
        stop.wait(STOPPED_SECONDS)
        status = LOST
    except (sqlite3.Error, OSError, UnavailableError) as error:
        if not _finds_disk_full(error):
            raise
        log.error("the disk of %s is full: nothing can be recorded", home.path)
        status = DISK_FULL
    sys.exit(status)


if __name__ == "__main__":
    main()
