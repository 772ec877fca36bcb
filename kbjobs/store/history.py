"""Looking up jobs in ``state.db``, and removing old ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kbjobs.store.connection import transaction
from kbjobs.store.jobs import JOB_COLUMNS, Job, job_from_row, outcome_of
from kbjobs.store.phase_state import PhaseState, load_phases
from kbjobs.store.transitions import Event, Status, before

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kbjobs.store.queue import Queue

LOOKED_BACK = 50  # ended jobs that are looked through for what a phase takes
PRUNED_AT_ONCE = 500  # jobs removed in one transaction: others wait for the write lock meanwhile


def active_jobs(queue: Queue, source: str | None = None) -> list[Job]:
    """Running jobs, then pending ones in the order in which they will be claimed."""
    where, values = ("AND source = ?", (source,)) if source is not None else ("", ())
    pending = f"SELECT {JOB_COLUMNS} FROM jobs WHERE status = 'pending' {where} ORDER BY priority DESC, id"
    running = [job for job in queue.running() if source is None or job.source == source]
    return running + [job_from_row(row) for row in queue.connection.execute(pending, values)]


def list_jobs(
    queue: Queue,
    limit: int = 50,
    days: float | None = None,
    types: Sequence[str] | None = None,
    source: str | None = None,
    status: Status | None = None,
) -> list[Job]:
    """Jobs, the newest first."""
    conditions, values = ["1"], list[Any]()
    if days is not None:
        conditions.append("created_at >= ?")
        values.append(_days_ago(days))
    if types is not None:
        conditions.append(f"type IN ({','.join('?' * len(types))})")
        values.extend(types)
    for column, value in (("source", source), ("status", status)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    rows = queue.connection.execute(
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?", (*values, limit)
    )
    return [job_from_row(row) for row in rows]


def just_ended(queue: Queue, limit: int, days: float) -> list[Job]:
    """Jobs that ended within the last days, the latest first."""
    rows = queue.connection.execute(
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE finished_at >= ? ORDER BY finished_at DESC, id DESC LIMIT ?",
        (_days_ago(days), limit),
    )
    return [job_from_row(row) for row in rows]


def resumable_jobs(queue: Queue) -> list[Job]:
    """Jobs that ``resume`` accepts and that did not end by the user's own wish, the oldest first.

    Not those whose work another job has completed since: the same single job, or for a chain any job of it on the same
    source, since its file may have been changed.
    """
    statuses = [status for status in before(Event.RESUME) if status is not Status.CANCELLED]
    marks = ",".join("?" * len(statuses))
    rows = queue.connection.execute(
        f"WITH unfinished AS (SELECT * FROM jobs WHERE status IN ({marks})),"
        " done AS (SELECT id, type, source, key, finished_at FROM jobs WHERE status = 'completed'"
        "  AND type IN (SELECT type FROM unfinished))"
        f" SELECT {JOB_COLUMNS} FROM unfinished AS u WHERE NOT EXISTS ("
        "  SELECT 1 FROM done AS d WHERE d.type = u.type AND d.source IS u.source"
        "  AND (d.finished_at, d.id) > (u.finished_at, u.id)"
        f"  AND (d.key = u.key OR {_IS_CHAIN})) ORDER BY id",
        statuses,
    )
    return [job_from_row(row) for row in rows]


# A single job has one phase, of the type it is named by; a function's job has a name of its own.
_IS_CHAIN = "(json_array_length(u.phases) > 1 OR json_extract(u.phases, '$[0].job') NOT IN (u.type, 'python_function'))"


def kind_of(phase: PhaseState) -> str:
    """What phases that take a like time have in common: the job type, or of a Python function itself."""
    return f"{phase.job} {phase.params.get('function', '')}".rstrip()


def last_runs(queue: Queue, types: Collection[str], source: str | None) -> dict[str, PhaseState]:
    """The latest completed phase of each kind, of the same source where there is one."""
    rows = queue.connection.execute(
        "SELECT source, phases FROM jobs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT ?",
        (LOOKED_BACK,),
    )
    found: dict[str, PhaseState] = {}
    elsewhere: dict[str, PhaseState] = {}
    for row in rows:
        for phase in load_phases(row["phases"]):
            is_measured = phase.is_completed and phase.seconds is not None and not phase.is_skipped
            if is_measured and (kind := kind_of(phase)) in types:
                (found if row["source"] == source else elsewhere).setdefault(kind, phase)
    return elsewhere | found


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a job. Times are UTC, ISO 8601; the end, outcome and error of a running one are None."""

    attempt: int
    started_at: str
    finished_at: str | None = None
    outcome: str | None = None
    error: str | None = None


def list_attempts(queue: Queue, job_id: int) -> list[Attempt]:
    """Every attempt of a job.

    The attempt that runs, or with which the job ended, stands in the job's own row: most jobs need no other.
    """
    rows = queue.connection.execute(
        "SELECT attempt, started_at, finished_at, outcome, error FROM attempts WHERE job_id = ? ORDER BY attempt",
        (job_id,),
    )
    found = [Attempt(*row) for row in rows]
    job = queue.get(job_id)
    if job.attempt_started_at is not None:
        error = job.error or (job.message if job.status is Status.INTERRUPTED else None)
        found.append(Attempt(job.attempt, job.attempt_started_at, job.finished_at, outcome_of(job), error))
    return found


def old_jobs(queue: Queue, days: float, limit: int = PRUNED_AT_ONCE) -> list[Job]:
    """Jobs that ended more than ``days`` days ago, the oldest first.

    Never the newest of all: its id would be given again.
    """
    rows = queue.connection.execute(
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE finished_at < ? AND id < (SELECT max(id) FROM jobs) ORDER BY id LIMIT ?",
        (_days_ago(days), limit),
    )
    return [job_from_row(row) for row in rows]


def delete_jobs(queue: Queue, jobs: Sequence[Job]) -> int:
    """Forget ended jobs and their attempts, in one transaction; returns how many were still there, ended."""
    deleted = 0
    with transaction(queue.connection):
        for job in jobs:
            ended = "SELECT id FROM jobs WHERE id = ? AND finished_at IS NOT NULL AND id < (SELECT max(id) FROM jobs)"
            queue.connection.execute(f"DELETE FROM attempts WHERE job_id IN ({ended})", (job.id,))
            deleted += queue.connection.execute(f"DELETE FROM jobs WHERE id IN ({ended})", (job.id,)).rowcount
    return deleted


def _days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
