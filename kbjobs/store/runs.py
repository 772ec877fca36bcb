"""The writes about a running job, by its worker or, if that is dead, by the daemon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from kbjobs.errors import ExitCode, NotFoundError
from kbjobs.store import checkpoints, clocks
from kbjobs.store.connection import transaction
from kbjobs.store.database import Database
from kbjobs.store.jobs import JOB_COLUMNS, Job, Report, Work, job_from_row, plain
from kbjobs.store.phase_state import PhaseState, dump_phases, fingerprint, open_phases, reopened
from kbjobs.store.run_outcomes import CANCELLED, OUT_OF_TIME, PAUSED, STOPPED, RunOutcome
from kbjobs.store.source_history import end_source_in_run
from kbjobs.store.transitions import Event, Status, after

_GET = f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?"


class StaleWorkerError(Exception):
    """The writer's run has ended or was declared dead, so it can no longer change anything."""


class Runs(Database):
    """The writes of running jobs. Each names its run, and changes nothing if that run has ended."""

    def get(self, job_id: int) -> Job:
        """The job with that id; raises NotFoundError."""
        # SQLite cannot look up larger integers.
        known = abs(job_id) < 2**63
        row = self.connection.execute(_GET, (job_id,)).fetchone() if known else None
        if row is None:
            raise NotFoundError(f"there is no job {job_id}", "kbjobs history lists all jobs.")
        return job_from_row(row)

    def set_pid(self, job_id: int, run_id: str, pid: int) -> None:
        """Record the worker's process, so that leftovers of its process group can be found later.

        Args:
            job_id: the job.
            run_id: its run.
            pid: the worker's process.
        """
        self.connection.execute(
            "UPDATE jobs SET pid = ? WHERE id = ? AND status = 'running' AND run_id = ?", (pid, job_id, run_id)
        )

    def open_checkpoint(self, job: Job, run_id: str) -> Any:
        """Begin a job's checkpoint, or take over the existing one; returns the inner checkpoint to resume from, if any.

        A job that does not resume replaces any checkpoint that an earlier job has left.
        """
        with transaction(self.connection):
            self._check_run(job.id, run_id)
            found = checkpoints.load(self.connection, job.source, job.type)
            inner = None
            if found and (job.resumed or found.job_id == job.id) and found.fingerprint == fingerprint(job.phases):
                # If a phase that had ended is open again, another phase saved the inner checkpoint.
                inner = found.inner if open_phases(found.phases) == open_phases(job.phases) else None
            if len(job.phases) > 1 or inner is not None:
                checkpoints.save(self.connection, job.source, job.type, job.id, job.phases, inner)
            elif found and [phase.job for phase in found.phases] == [phase.job for phase in job.phases]:
                checkpoints.delete(self.connection, job.source, job.type)
        return inner

    def save_inner(self, job_id: int, run_id: str, inner: Any) -> None:
        """Save how far the running phase has come.

        Args:
            job_id: the job.
            run_id: its run.
            inner: the phase's own JSON value.

        Raises:
            StaleWorkerError: the run has ended.
        """
        with transaction(self.connection):
            self._check_run(job_id, run_id)
            job = self.get(job_id)
            self.connection.execute("UPDATE jobs SET saved_at_start = -1 WHERE id = ?", (job_id,))
            checkpoints.save(self.connection, job.source, job.type, job_id, job.phases, inner)

    def end_source(self, job_id: int, run_id: str, inner: Any) -> None:
        """Record that the job's source no longer exists, and how far the phase that deletes it has come.

        Args:
            job_id: the job.
            run_id: its run.
            inner: the phase's own JSON value.

        Raises:
            StaleWorkerError: the run has ended.
        """
        with transaction(self.connection):
            self._check_run(job_id, run_id)
            self.connection.execute("UPDATE jobs SET saved_at_start = -1 WHERE id = ?", (job_id,))
            end_source_in_run(self.connection, job_id, inner)

    def end_phase(self, job_id: int, run_id: str, phases: Sequence[PhaseState], progress: float) -> None:
        """Record that a phase has ended, in the job and in the checkpoint at once.

        Args:
            job_id: the job.
            run_id: its run.
            phases: all phases, with the result of the ended one.
            progress: the chain's progress in percent.

        Raises:
            StaleWorkerError: the run has ended.
        """
        with transaction(self.connection):
            source, chain = self._row_of_run(
                job_id,
                run_id,
                "UPDATE jobs SET phases = ?, progress = ?, retried = 0, saved_at_start = -1,"
                " beat = beat + 1, beat_at = ? WHERE id = ? AND status = 'running' AND run_id = ?"
                " RETURNING source, type",
                (dump_phases(phases), progress, clocks.now_text(), job_id, run_id),
            )
            checkpoints.save(self.connection, source, chain, job_id, phases)

    def _check_run(self, job_id: int, run_id: str) -> None:
        statement = "SELECT 1 FROM jobs WHERE id = ? AND status = 'running' AND run_id = ?"
        self._row_of_run(job_id, run_id, statement, (job_id, run_id))

    def _row_of_run(self, job_id: int, run_id: str, statement: str, values: Sequence[Any] | dict[str, Any]) -> Any:
        """The one row that a statement returns for the job. Raises StaleWorkerError if the run has ended."""
        rows = self.connection.execute(statement, values).fetchall()
        if len(rows) != 1:
            raise StaleWorkerError(f"run {run_id} of job {job_id} has ended")
        return rows[0]

    def record_progress(
        self,
        job_id: int,
        run_id: str,
        saved: int,
        duration: float,
        report: Report | None = None,
        work: Work | None = None,
    ) -> bool:
        """Write progress, which is also a heartbeat.

        Args:
            job_id: the job.
            run_id: its run.
            saved: the number of steps that are safe on disk, over all attempts.
            duration: seconds of all attempts.
            report: the latest report; None before the first.
            work: what the running phase does; None before the first phase begins.

        Returns:
            Whether the job should stop, because a cancel or a pause is requested.

        Raises:
            StaleWorkerError: the run has ended.
        """
        values: dict[str, Any] = {"saved": saved, "duration": duration, "beat_at": clocks.now_text()}
        if report is not None:
            values |= {
                "progress": report.progress,
                "phase": None if report.phase is None else json.dumps(asdict(report.phase)),
                "phases": dump_phases(report.phases),
                "message": plain(report.message),
                "eta": report.eta,
            }
        if work is not None:
            values |= {"dimension": work.dimension, "operation": plain(work.operation)}
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        (must_stop,) = self._row_of_run(
            job_id,
            run_id,
            f"UPDATE jobs SET beat = beat + 1, {assignments} WHERE id = :id AND status = 'running' AND run_id = :run_id"
            " RETURNING cancel_requested OR pause_requested",
            {**values, "id": job_id, "run_id": run_id},
        )
        return bool(must_stop)

    def postpone(self, job_id: int, run_id: str, seconds: float, error: str, duration: float) -> None:
        """Give a running job back to the queue after a transient error.

        Args:
            job_id: the job.
            run_id: its run.
            seconds: the time until the next try.
            error: what went wrong.
            duration: seconds of all attempts.

        Raises:
            StaleWorkerError: the run has ended.
        """
        with transaction(self.connection):
            end = RunOutcome(Event.POSTPONE, None, f"tried again in {seconds:.0f} s: {error}", error)
            self._leave(job_id, run_id, end)
            self.connection.execute(
                "UPDATE jobs SET retried = retried + 1, retry_at = ?, retry_boot = ?, duration = ?"
                " WHERE id = ? AND status = 'pending'",
                (clocks.since_boot() + seconds, clocks.boot_id(), duration, job_id),
            )

    def wait(self, job_id: int, run_id: str, seconds: float, message: str, duration: float) -> None:
        """Give a running job that can do nothing but wait back to the queue. The same attempt continues later.

        Args:
            job_id: the job.
            run_id: its run.
            seconds: how long to wait.
            message: what the job waits for, such as ``waiting for 2 batches``.
            duration: seconds of all attempts.

        Raises:
            StaleWorkerError: the run has ended.
        """
        with transaction(self.connection):
            self._leave(job_id, run_id, RunOutcome(Event.WAIT, None, message))
            self.connection.execute(
                "UPDATE jobs SET retry_at = ?, retry_boot = ?, duration = ? WHERE id = ? AND status = 'pending'",
                (clocks.since_boot() + seconds, clocks.boot_id(), duration, job_id),
            )

    def finish(
        self,
        job_id: int,
        run_id: str,
        end: RunOutcome,
        result: dict[str, Any] | None = None,
        phases: Sequence[PhaseState] | None = None,
        duration: float | None = None,
    ) -> None:
        """End a running job and free its resources.

        Args:
            job_id: the job.
            run_id: its run.
            end: how it ends.
            result: the job's counts, as JSON values.
            phases: the phases as they ended; None leaves them as they are.
            duration: seconds of all attempts; None leaves them as they are.

        Raises:
            StaleWorkerError: the run has ended.
        """
        with transaction(self.connection):
            error = None if end.error is None else plain(end.error)
            more: dict[str, Any] = {"error": error, "reason": end.reason, "phase": None}
            if result is not None:
                more["result"] = json.dumps(result)
            if phases is not None:
                more["phases"] = dump_phases(phases)
            if duration is not None:
                more["duration"] = duration
            if end.event is Event.COMPLETE:
                more["progress"] = 100.0
            self._leave(job_id, run_id, end, 0, more)

    def record_death(self, job_id: int, run_id: str, reason: str, max_deaths: int) -> Job | None:
        """Requeue or end a job whose worker is proven dead.

        If a cancel was requested, the job ends as cancelled. If a pause was requested, the death does not count.

        Args:
            job_id: the job.
            run_id: its run.
            reason: how the worker died.
            max_deaths: the number of deaths in a row without saved progress that end the job as interrupted;
                a reboot does not count.

        Returns:
            The changed job; None if the run had already ended.
        """
        with transaction(self.connection):
            row = self.connection.execute(
                "SELECT cancel_requested, pause_requested, saved, saved_at_start, deaths, boot_id, beat_at FROM jobs"
                " WHERE id = ? AND status = 'running' AND run_id = ?",
                (job_id, run_id),
            ).fetchone()
            if row is None:
                return None
            has_moved = row["saved"] > row["saved_at_start"]
            deaths = 0 if has_moved else row["deaths"] + (row["boot_id"] == clocks.boot_id())
            if row["cancel_requested"]:
                end = CANCELLED
            elif self.get(job_id).is_out_of_time():
                end = OUT_OF_TIME
            elif row["pause_requested"]:
                end, deaths = RunOutcome(Event.REQUEUE, None, PAUSED), 0 if has_moved else row["deaths"]
            elif deaths >= max_deaths:
                message = f"its worker died {deaths} times without progress ({reason})"
                end = RunOutcome(Event.INTERRUPT, ExitCode.INTERRUPTED, message)
            else:
                end = RunOutcome(Event.REQUEUE, None, f"goes on after: {reason}")
            # The attempt ended with the last heartbeat, however late the death was found.
            more = {"reason": end.reason} if end.reason else None
            self._leave(job_id, run_id, replace(end, error=reason), deaths, more, died_at=row["beat_at"])
            return self.get(job_id)

    def release(self, job_id: int, run_id: str, why: tuple[str, str] = STOPPED) -> None:
        """Give a running job back to the queue, although its worker did not die.

        Args:
            job_id: the job.
            run_id: its run.
            why: the reason, for the attempt and as the job's message; a pause takes precedence.

        Raises:
            StaleWorkerError: the run has ended.
        """
        with transaction(self.connection):
            deaths, is_paused = self.connection.execute(
                "SELECT deaths, pause_requested FROM jobs WHERE id = ?", (job_id,)
            ).fetchone()
            reason, message = ("paused", PAUSED) if is_paused else why
            self._leave(job_id, run_id, RunOutcome(Event.REQUEUE, None, message, reason), deaths)

    def _keep_attempt(self, job_id: int, run_id: str, event: Event, error: str | None, died_at: str | None) -> None:
        # If an older program claimed the job, the attempt has its row already, and the job's own row lacks its start.
        self.connection.execute(
            "INSERT OR REPLACE INTO attempts (job_id, attempt, run_id, started_at, finished_at, outcome, error)"
            " SELECT id, attempt, run_id, coalesce(attempt_started_at, started_at, created_at), ?, ?, ?"
            " FROM jobs WHERE id = ? AND run_id = ?",
            (died_at or clocks.now_text(), event, error, job_id, run_id),
        )

    def _leave(
        self,
        job_id: int,
        run_id: str,
        end: RunOutcome,
        deaths: int = 0,
        more: dict[str, Any] | None = None,
        died_at: str | None = None,
    ) -> None:
        """Take a job out of running: status, locks and attempt, in the caller's transaction. There is no other way.

        ``deaths``: how often in a row its workers have died; ``more``: further columns of the job and their values;
        ``died_at``: the last heartbeat of a dead worker.
        """
        error = None if end.error is None else plain(end.error)
        if end.event in (Event.REQUEUE, Event.POSTPONE, Event.WAIT) and self.get(job_id).cancel_requested:
            # The user asked for a cancel: the job must not run again.
            end = replace(CANCELLED, message="cancelled; what was done is kept")
        event, exit_code = end.event, end.exit_code
        if exit_code is None:
            phases = dump_phases(reopened(self.get(job_id).phases, also_passed=False))
            queued = {"retry_at": clocks.queued_now(), "retry_boot": clocks.boot_id()}
            more = {"phases": phases, **queued, **(more or {})}
        if event is not Event.WAIT and (exit_code is None or died_at is not None):
            # The job's own row describes its last attempt: see history.list_attempts.
            more = {"attempt_started_at": None, **(more or {})}
            self._keep_attempt(job_id, run_id, event, error, died_at)
        status = after(Status.RUNNING, event)
        values = {
            "status": status,
            "run_id": None,
            "pid": None,
            "eta": None,
            "deaths": deaths,
            "message": plain(end.message),
            "pause_requested": 0,
            "exit_code": exit_code,
            "finished_at": clocks.now_text() if exit_code is not None else None,
            **(more or {}),
        }
        assignments = ", ".join(f"{name} = ?" for name in values)
        source, chain = self._row_of_run(
            job_id,
            run_id,
            f"UPDATE jobs SET {assignments} WHERE id = ? AND status = 'running' AND run_id = ? RETURNING source, type",
            (*values.values(), job_id, run_id),
        )
        self.connection.execute("DELETE FROM locks WHERE run_id = ?", (run_id,))
        if event is Event.COMPLETE:
            checkpoints.delete(self.connection, source, chain, job_id)
