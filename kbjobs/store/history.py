"""Looking up jobs in ``state.db``, and removing old ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kbjobs.store.connection import transaction
from kbjobs.store.jobs import JOB_COLUMNS, Attempt, Job, JobRun, job_from_row, job_key, outcome_of
from kbjobs.store.phase_state import PhaseState, load_phases
from kbjobs.store.transitions import Event, Status, before

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kbjobs.store.queue import Queue

LOOKED_BACK = 50  # ended jobs searched for the durations of phases
PRUNED_AT_ONCE = 500  # jobs removed in one transaction, during which others wait for the write lock


def active_jobs(queue: Queue, source: str | None = None) -> list[Job]:
    """Running jobs, then pending ones in the order in which they will be claimed."""
    where, values = ("AND source = ?", (source,)) if source is not None else ("", ())
    pending = f"SELECT {JOB_COLUMNS} FROM jobs WHERE status = 'pending' {where} ORDER BY priority DESC, id"
    running = [job for job in queue.running() if source is None or job.source == source]
    return running + [job_from_row(row) for row in queue.connection.execute(pending, values)]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list: the newest ``limit`` jobs that match every field that is not None.

    ``days``: submitted within the last days; ``text``: part of the error or message, ignoring ASCII case.
    """

    limit: int = 50
    days: float | None = None
    types: Sequence[str] | None = None
    source: str | None = None
    status: Status | None = None
    text: str | None = None


def list_jobs(queue: Queue, wanted: JobFilter = JobFilter()) -> list[Job]:
    """The jobs that match, newest first."""
    conditions, values = ["1"], list[Any]()
    if wanted.days is not None:
        conditions.append("created_at >= ?")
        values.append(_days_ago(wanted.days))
    if wanted.types is not None:
        conditions.append(f"type IN ({','.join('?' * len(wanted.types))})")
        values.extend(wanted.types)
    for column, value in (("source", wanted.source), ("status", wanted.status)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if wanted.text:
        conditions.append("instr(lower(coalesce(error, '') || char(10) || coalesce(message, '')), lower(?))")
        values.append(wanted.text)
    rows = queue.connection.execute(
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?",
        (*values, wanted.limit),
    )
    return [job_from_row(row) for row in rows]


def known_types(queue: Queue) -> list[str]:
    """The types and labels of all jobs in the history."""
    return [row[0] for row in queue.connection.execute("SELECT DISTINCT type FROM jobs")]


def known_sources(queue: Queue) -> list[str]:
    """The sources of all jobs in the history."""
    return [row[0] for row in queue.connection.execute("SELECT DISTINCT source FROM jobs WHERE source IS NOT NULL")]


def just_ended(queue: Queue, limit: int, days: float) -> list[Job]:
    """Jobs that ended within the last days, latest first.

    Args:
        queue: the queue.
        limit: the largest number of jobs.
        days: how far to look back.
    """
    rows = queue.connection.execute(
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE finished_at >= ? ORDER BY finished_at DESC, id DESC LIMIT ?",
        (_days_ago(days), limit),
    )
    return [job_from_row(row) for row in rows]


# What two jobs of the same type and source must also share to be the same work. Single jobs, and jobs of functions
# (whose label says nothing), must share their parameters; chains nothing, since a chain's file may have changed.
_WORK = (
    "CASE WHEN json_array_length(phases) > 1 OR json_extract(phases, '$[0].job') NOT IN (type, 'python_function')"
    " THEN 'chain' ELSE key END"
)
_ENDED = "printf('%s %020d', finished_at, id)"  # times have whole seconds: the id decides between equal ones


def resumable_jobs(queue: Queue) -> list[Job]:
    """Jobs that ``resume`` accepts and that the user did not cancel, oldest first.

    Jobs whose work another job has completed since are left out. So are jobs whose source was deleted, except for the
    deletion itself.
    """
    statuses = [status for status in before(Event.RESUME) if status is not Status.CANCELLED]
    marks = ",".join("?" * len(statuses))
    rows = queue.connection.execute(
        f"WITH unfinished AS (SELECT *, {_WORK} AS work, {_ENDED} AS ended FROM jobs WHERE status IN ({marks})"
        "  AND (source_deleted_at IS NULL OR ends_source)),"
        f" done AS (SELECT type, source, {_WORK} AS work, max({_ENDED}) AS newest FROM jobs"
        "  WHERE status = 'completed' AND type IN (SELECT type FROM unfinished) GROUP BY 1, 2, 3)"
        f" SELECT {', '.join(f'u.{name}' for name in JOB_COLUMNS.split(', '))} FROM unfinished AS u LEFT JOIN done AS d"
        "  ON d.type = u.type AND d.source IS u.source AND d.work = u.work"
        " WHERE newest IS NULL OR newest < ended ORDER BY u.id",
        statuses,
    )
    return [job_from_row(row) for row in rows]


def failed_jobs(queue: Queue, days: float | None = None) -> list[Job]:
    """The failed jobs among :func:`resumable_jobs`, without those that are pending or running again, by id.

    If the same job failed several times, only the newest is returned. ``days`` limits how long ago they ended.
    """
    live = {job_key(job.type, job.source, job.phases) for job in active_jobs(queue)}
    since = "" if days is None else _days_ago(days)
    newest = {
        job_key(job.type, job.source, job.phases): job
        for job in resumable_jobs(queue)
        if job.status is Status.FAILED and (job.finished_at or "") >= since
    }
    return sorted((job for key, job in newest.items() if key not in live), key=lambda job: job.id)


def kind_of(phase: PhaseState) -> str:
    """The kind of a phase; phases of one kind take a similar time: job type, whether a dry run, function."""
    dry = "dry" if phase.params.get("dry_run") else ""
    return " ".join(filter(None, (phase.job, dry, phase.params.get("function", ""))))


def place_of(phase: PhaseState) -> str:
    """A phase's kind and name, which tells phases of one kind in a chain apart."""
    return f"{kind_of(phase)} as {phase.name}"


def last_runs(queue: Queue, types: Collection[str], source: str | None) -> dict[str, PhaseState]:
    """The latest completed phase of each kind and of each place, preferably on the same source.

    Args:
        queue: the queue.
        types: the kinds of phases, as :func:`kind_of` names them.
        source: the source's id; None for jobs without a source.

    Returns:
        Phases by kind, and by place as :func:`place_of` names it.
    """
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
                known = found if row["source"] == source else elsewhere
                known.setdefault(kind, phase)
                known.setdefault(place_of(phase), phase)
    return elsewhere | found


def list_attempts(queue: Queue, job_id: int) -> list[Attempt]:
    """Every attempt of a job.

    The job's own row holds the running or last attempt, so that most jobs need no other row.
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


def list_runs(queue: Queue, days: float, limit: int = 500) -> list[JobRun]:
    """The newest attempts of jobs that run or ended within the last days, oldest first.

    Args:
        queue: the queue.
        days: how long ago an attempt may have ended.
        limit: the largest number of attempts.
    """
    since = _days_ago(days)
    jobs = [
        job_from_row(row)
        for row in queue.connection.execute(
            f"SELECT {JOB_COLUMNS} FROM jobs WHERE finished_at IS NULL AND attempt > 0 UNION ALL SELECT * FROM ("
            f"SELECT {JOB_COLUMNS} FROM jobs WHERE finished_at >= ? ORDER BY finished_at DESC LIMIT ?)",
            (since, limit),
        )
    ]
    found = [
        JobRun(job.id, job.type, job.source, job.attempt_started_at, job.finished_at, outcome_of(job))
        for job in jobs
        if job.attempt_started_at is not None
    ]
    for job in jobs:
        if job.attempt == 1 and job.attempt_started_at is not None:
            continue  # its own row holds its only attempt
        rows = queue.connection.execute(
            "SELECT started_at, finished_at, outcome FROM attempts WHERE job_id = ? AND finished_at >= ?",
            (job.id, since),
        )
        found += [JobRun(job.id, job.type, job.source, *row) for row in rows]
    return sorted(found, key=lambda run: (run.started_at, run.job_id))[-limit:]


def old_jobs(queue: Queue, days: float, limit: int = PRUNED_AT_ONCE) -> list[Job]:
    """Jobs that ended long ago, oldest first.

    The newest job of all is never among them, because its id would be reused.

    Args:
        queue: the queue.
        days: how long ago they must have ended.
        limit: the largest number of jobs.
    """
    rows = queue.connection.execute(
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE finished_at < ? AND id < (SELECT max(id) FROM jobs) ORDER BY id LIMIT ?",
        (_days_ago(days), limit),
    )
    return [job_from_row(row) for row in rows]


def delete_jobs(queue: Queue, jobs: Sequence[Job]) -> int:
    """Delete ended jobs and their attempts in one transaction; returns how many of them were still there and ended."""
    deleted = 0
    with transaction(queue.connection):
        for job in jobs:
            ended = "SELECT id FROM jobs WHERE id = ? AND finished_at IS NOT NULL AND id < (SELECT max(id) FROM jobs)"
            queue.connection.execute(f"DELETE FROM attempts WHERE job_id IN ({ended})", (job.id,))
            deleted += queue.connection.execute(f"DELETE FROM jobs WHERE id IN ({ended})", (job.id,)).rowcount
    return deleted


def _days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
