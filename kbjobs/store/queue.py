"""The queue in ``state.db``: submit, claim, progress, finish, recover, cancel, resume.

The queue's hot path uses ``sqlite3`` itself: importing sqlite-utils costs more than a submit.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbjobs.errors import ConflictError, ExitCode
from kbjobs.store import checkpoints, clocks
from kbjobs.store.checkpoints import Checkpoint
from kbjobs.store.claims import Claims
from kbjobs.store.connection import explain, transaction
from kbjobs.store.jobs import JOB_COLUMNS, Job, LimitChanges, NewJob, job_from_row, job_key, outcome_of
from kbjobs.store.phase_state import PhaseState, dump_phases, fingerprint, reopened
from kbjobs.store.runs import Runs, StaleWorkerError
from kbjobs.store.source_history import refuse_beside_end
from kbjobs.store.state import open_state, set_durability
from kbjobs.store.transitions import Event, InvalidTransition, Status, after, before

_NEW_COLUMNS = (
    "type, source, params, key, resources, phases, status, priority, dimension, operation, created_at,"
    " not_before, until, timeout, retries, resumable, resumed, ends_source, boot_id, retry_at, retry_boot"
)
_INSERT = f"INSERT INTO jobs ({_NEW_COLUMNS}) VALUES ({', '.join('?' * 21)}) RETURNING {JOB_COLUMNS}"


def _row(new: NewJob, key: str) -> tuple[Any, ...]:
    """The values of _NEW_COLUMNS."""
    limits = new.limits
    return (
        new.type,
        new.source,
        json.dumps(new.params),
        key,
        json.dumps(new.resources),
        dump_phases(new.phases),
        Status.PENDING,
        new.priority,
        new.dimension,
        new.operation,
        clocks.now_text(),
        limits.not_before,
        limits.until,
        limits.timeout,
        limits.retries,
        new.resumable,
        new.resumed,
        new.ends_source,
        clocks.boot_id(),  # probably still right at the claim: a row that grows then would move to another page
        clocks.queued_now(),
        clocks.boot_id(),
    )


__all__ = ["DaemonRecord", "DuplicateJobError", "Queue", "StaleWorkerError"]


@dataclass(frozen=True, slots=True)
class DaemonRecord:
    """What a daemon recorded of itself: process, version, start (UTC, ISO 8601), the names of secrets it can see."""

    pid: int
    version: str
    started_at: str
    secrets: tuple[str, ...]


class DuplicateJobError(ConflictError):
    """The job ``job_id`` with the same ``key`` is already pending or running."""

    def __init__(self, job_id: int, key: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.job_id = job_id
        self.key = key


class Queue(Claims, Runs):
    """The queue and history in ``state.db``. Each process and thread needs its own object."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, open_state(path))
        self.durability = "FULL"

    def relax_durability(self) -> None:
        """Let a power cut (but no kill) lose recent writes: good for progress, which is soon written again."""
        self.set_durability("NORMAL")

    def set_durability(self, level: str) -> None:
        """As :func:`kbjobs.store.state.set_durability`."""
        self.durability = level
        set_durability(self.connection, level)

    # -- clients ----------------------------------------------------------------------------------

    def submit(self, new: NewJob) -> Job:
        """Add a pending job. Raises DuplicateJobError if the same job is already pending or running."""
        return self.submit_all([new])[0]

    def submit_all(self, jobs: Sequence[NewJob]) -> list[Job]:
        """Add pending jobs, all or none. Raises DuplicateJobError if one is already pending or running.

        Raises ConflictError if one would delete a source that other live jobs need, or needs one that is being deleted.
        """
        new = jobs[0]
        try:
            with transaction(self.connection):
                rows = []
                for new in jobs:
                    key = new.key
                    refuse_beside_end(self.connection, new.source, key, new.ends_source)
                    rows.append(self.connection.execute(_INSERT, _row(new, key)).fetchone())
                    if new.resumed:
                        checkpoints.hand_over(self.connection, new.source, new.type, rows[-1]["id"], new.phases)
            return [job_from_row(row) for row in rows]
        except sqlite3.IntegrityError as error:
            found = self.connection.execute(
                "SELECT id, status FROM jobs WHERE key = ? AND finished_at IS NULL", (new.key,)
            ).fetchone()
            if found is None and len({one.key for one in jobs}) < len(jobs):
                raise ConflictError("the same job was requested twice", "Name each source once.") from error
            if found is None:  # the other job has just ended
                return self.submit_all(jobs)
            raise DuplicateJobError(
                found["id"],
                new.key,
                f"the same job is already {found['status']}: job {found['id']}",
                f"Follow it with kbjobs watch {found['id']}, or stop it with kbjobs cancel {found['id']}.",
            ) from error
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def refuse_beside_end(self, new: NewJob) -> None:
        """Raise ConflictError if this job or another live job of its source deletes the source."""
        refuse_beside_end(self.connection, new.source, new.key, new.ends_source)

    def cancel(self, job_id: int) -> Job:
        """Request a cancel. A pending job is cancelled at once, a running one by its worker or the daemon.

        Raises UnavailableError, with SQLite's error as its cause, if the state cannot be written.
        """
        try:
            with transaction(self.connection):
                self._cancel(self.get(job_id))
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        return self.get(job_id)

    def _cancel(self, job: Job) -> None:
        if job.status is Status.PENDING:
            self.connection.execute(
                "UPDATE jobs SET status = ?, exit_code = ?, finished_at = ?, cancel_requested = 1,"
                " message = iif(attempt_started_at IS NULL, 'cancelled before it started',"
                " 'cancelled while ' || message"
                " || '; what was done is kept, and what is under way is taken up by the next run')"
                " WHERE id = ?",
                (after(job.status, Event.CANCEL), ExitCode.CANCELLED, clocks.now_text(), job.id),
            )
        elif job.status is Status.RUNNING:
            self.connection.execute("UPDATE jobs SET cancel_requested = 1 WHERE id = ?", (job.id,))
        elif job.status is not Status.CANCELLED:
            raise ConflictError(f"job {job.id} has already ended: {job.status}", f"See kbjobs status {job.id}.")

    def discard(self, job_id: int) -> Job:
        """Mark a failed or interrupted job as cancelled, so that nobody is reminded of it, and delete its checkpoint.

        Raises ConflictError if the job is pending, running or completed.
        """
        try:
            with transaction(self.connection):
                job = self.get(job_id)
                if job.status is not Status.CANCELLED:
                    if job.status not in before(Event.DISCARD):
                        raise ConflictError(
                            f"job {job_id} is {job.status}: there is nothing to discard",
                            "kbjobs interrupted lists the jobs that can be discarded.",
                        )
                    self.connection.execute(
                        "UPDATE jobs SET status = ?, exit_code = ?, message = 'discarded; what was done is kept'"
                        " WHERE id = ?",
                        (after(job.status, Event.DISCARD), ExitCode.CANCELLED, job_id),
                    )
                found = checkpoints.load(self.connection, job.source, job.type)
                if found is not None and found.job_id == job_id:
                    checkpoints.delete(self.connection, job.source, job.type)
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        return self.get(job_id)

    def resume(self, job_id: int, changes: LimitChanges | None = None, from_start: bool = False) -> Job:
        """Put an ended job back in the queue under its id.

        Args:
            job_id: the job.
            changes: new limits; the job keeps the others, except for start and end times that have passed.
            from_start: whether to start again instead of resuming from the checkpoint.

        Returns:
            The changed job.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: the job has not ended, or the same job is pending or running.
            UsageError: the job would have to stop before it may start.
        """
        event = Event.RETRY if from_start else Event.RESUME
        try:
            with transaction(self.connection):
                job = self.get(job_id)
                key = job_key(job.type, job.source, job.phases)
                refuse_beside_end(self.connection, job.source, key, job.ends_source, job.id)
                limits = (changes or LimitChanges()).applied(job)
                if job.attempt_started_at is not None:
                    self.connection.execute(
                        "INSERT INTO attempts (job_id, attempt, run_id, started_at, finished_at, outcome, error)"
                        " VALUES (?, ?, '', ?, ?, ?, ?)",
                        (job_id, job.attempt, job.attempt_started_at, job.finished_at, outcome_of(job), job.error),
                    )
                self.connection.execute(
                    "UPDATE jobs SET status = ?, cancel_requested = 0, deaths = 0, exit_code = NULL, result = NULL,"
                    " error = NULL, reason = NULL, finished_at = NULL, message = '', not_before = ?, until = ?,"
                    " timeout = ?, timeout_from = duration, retries = ?, retried = 0, retry_at = ?,"
                    " retry_boot = ?, attempt_started_at = NULL WHERE id = ?",
                    (
                        after(job.status, event),
                        limits.not_before,
                        limits.until,
                        limits.timeout,
                        limits.retries,
                        clocks.queued_now(),
                        clocks.boot_id(),
                        job_id,
                    ),
                )
                phases = dump_phases(self._taken_up(job))
                self.connection.execute("UPDATE jobs SET phases = ? WHERE id = ?", (phases, job_id))
                if from_start:
                    phases = dump_phases(phase.restarted() for phase in job.phases)
                    self.connection.execute(
                        "UPDATE jobs SET progress = 0, saved = 0, phase = NULL, resumed = 0, phases = ? WHERE id = ?",
                        (phases, job_id),
                    )
                    checkpoints.delete(self.connection, job.source, job.type, job_id)
        except InvalidTransition:
            possible = "an ended job" if from_start else "a failed, cancelled or interrupted job"
            raise ConflictError(
                f"job {job_id} is {job.status}; only {possible} can {event}", f"See kbjobs status {job_id}."
            ) from None
        except sqlite3.IntegrityError:
            raise ConflictError(
                f"the same job as {job_id} is already pending or running", "See kbjobs status."
            ) from None
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        return self.get(job_id)

    def _taken_up(self, job: Job) -> Sequence[PhaseState]:
        """The phases of a job that resumes; phases that another job of the chain has completed since count as done."""
        phases = reopened(job.phases, also_passed=True)
        found = checkpoints.load(self.connection, job.source, job.type)
        if found is None or found.job_id == job.id or found.fingerprint != fingerprint(phases):
            return phases
        phases = tuple(
            saved if saved.is_completed else phase for phase, saved in zip(phases, found.phases, strict=True)
        )
        checkpoints.hand_over(self.connection, job.source, job.type, job.id, phases)
        return phases

    def load_checkpoint(self, source: str | None, chain: str) -> Checkpoint | None:
        """The checkpoint of a chain on a source."""
        return checkpoints.load(self.connection, source, chain)

    def load_resumable_checkpoints(self) -> list[Checkpoint]:
        """The checkpoints from which a new job may resume and that no live job writes, latest first."""
        return checkpoints.load_resumable(self.connection)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint in place of any earlier one."""
        checkpoints.save(
            self.connection,
            checkpoint.source_id,
            checkpoint.job_type,
            checkpoint.job_id,
            checkpoint.phases,
            checkpoint.inner,
        )

    def delete_checkpoint(self, source: str | None, chain: str) -> bool:
        """Delete a checkpoint; returns whether there was one."""
        return checkpoints.delete(self.connection, source, chain)

    def delete_stale_checkpoints(self, days: float, dry_run: bool = False) -> list[Checkpoint]:
        """Delete checkpoints older than ``days`` days of jobs that have ended; returns them."""
        return checkpoints.delete_stale(self.connection, days, dry_run)

    def changes(self) -> tuple[int, int]:
        """A pair that changes with every write by any connection, this one included; cheap enough to poll."""
        others = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return int(others), self.connection.total_changes

    # -- the daemon -------------------------------------------------------------------------------

    def state_version(self) -> int:
        """The file's current format; a newer program may have migrated it meanwhile."""
        return int(self.connection.execute("PRAGMA user_version").fetchone()[0])

    def describe_daemon(
        self, pid: int, version: str, secrets: Sequence[str] = (), runs_on_finish: bool = False
    ) -> None:
        """Record a daemon's description. Its lock shows whether it is alive, never this row.

        Args:
            pid: its process.
            version: the version of its program.
            secrets: the names of the secrets that it can see.
            runs_on_finish: whether to record the ends of jobs, for a finish hook.
        """
        with transaction(self.connection):
            self.connection.execute("DELETE FROM daemon")
            self.connection.execute(
                "INSERT INTO daemon (only, pid, version, started_at, secrets, runs_on_finish)"
                " VALUES (1, ?, ?, ?, ?, ?)",
                (pid, version, clocks.now_text(), json.dumps(sorted(secrets)), runs_on_finish),
            )

    def daemon(self) -> DaemonRecord | None:
        """The record of the last daemon; None if there was none."""
        row = self.connection.execute("SELECT pid, version, started_at, secrets FROM daemon").fetchone()
        return None if row is None else DaemonRecord(row[0], row[1], row[2], tuple(json.loads(row[3])))
