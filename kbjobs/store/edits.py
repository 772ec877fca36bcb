"""Changing a pending job: its priority, the times between which it may run, its retries."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, TypedDict

from kbjobs.errors import ConflictError
from kbjobs.store.connection import explain, transaction
from kbjobs.store.jobs import Job, check_moments
from kbjobs.store.transitions import Status

if TYPE_CHECKING:
    from kbjobs.store.queue import Queue


class JobChanges(TypedDict, total=False):
    """The changes to a job; a missing key changes nothing. Times are seconds since 1970; None removes one."""

    priority: int
    not_before: float | None
    until: float | None
    retries: int


COLUMNS = tuple(JobChanges.__annotations__)


def edit_job(queue: Queue, job_id: int, changes: JobChanges) -> Job:
    """Change a pending job.

    Args:
        queue: the queue.
        job_id: the job.
        changes: the new values.

    Returns:
        The changed job.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: the job runs or has ended.
        UsageError: the job would have to stop before it may start.
    """
    try:
        with transaction(queue.connection):
            job = queue.get(job_id)
            if job.status is not Status.PENDING:
                raise ConflictError(f"job {job_id} is {job.status}: only a waiting job can be changed", _remedy(job))
            after: dict[str, Any] = {name: getattr(job, name) for name in COLUMNS} | dict(changes)
            check_moments(job_id, after["not_before"], after["until"])
            assignments = ", ".join(f"{name} = :{name}" for name in COLUMNS)
            queue.connection.execute(f"UPDATE jobs SET {assignments} WHERE id = :id", {**after, "id": job_id})
    except sqlite3.Error as error:
        raise explain(error, queue.path) from error
    return queue.get(job_id)


def _remedy(job: Job) -> str:
    if job.has_ended:
        return f"kbjobs resume {job.id} goes on with it, with --until, --not-before and --retries as you like."
    return (
        f"kbjobs cancel {job.id}, then kbjobs resume {job.id} with --until, --not-before and --retries as you like:"
        " it goes on from what is saved."
    )
