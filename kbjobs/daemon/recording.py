"""How an attempt ended, recorded in the state and in its log."""

from __future__ import annotations

import logging
import random
import sqlite3
from functools import partial
from pathlib import Path

from kbjobs.config.settings import Settings
from kbjobs.daemon.attempt import RunningAttempt, WorkOutcome
from kbjobs.errors import (
    ExitCode,
    JobCancelled,
    JobInterrupted,
    JobWaits,
    KbjobsError,
    TransientError,
    UnavailableError,
)
from kbjobs.store.connection import explain, is_disk_full
from kbjobs.store.phase_state import PhaseStatus
from kbjobs.store.run_outcomes import OUT_OF_TIME, REPLACED, RunOutcome
from kbjobs.store.transitions import Event

log = logging.getLogger("kbjobs.worker")


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


def record_outcome(attempt: RunningAttempt, outcome: WorkOutcome) -> None:
    """Record in the state and in the log how an attempt ended. Raises StaleWorkerError if its run has ended."""
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
    is_kept = isinstance(error, JobInterrupted) or (known is not None and known.exit_code is ExitCode.TIME_LIMIT)
    event = Event.INTERRUPT if is_kept else Event.FAIL
    return RunOutcome(event, known.exit_code if known else ExitCode.FAILED, text, f"{text}\n{hint}")
