"""Totals over all jobs that the state still holds: their number, their duration, their API costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kbjobs.store.queue import Queue


@dataclass(frozen=True, slots=True)
class TypeTotal:
    """The jobs of a type in a status: their number, and the seconds that their workers ran."""

    job_type: str
    status: str
    jobs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LastSuccess:
    """The last success of a job type on a source: its end in seconds since 1970, and its duration in seconds.

    A job that left some documents out counts as a success, too.
    """

    job_type: str
    source: str
    finished_at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Spending:
    """The API usage of a job type's phases: tokens, and their list price at that time in US dollars."""

    job_type: str
    tokens: int
    dollars: float


@dataclass(frozen=True, slots=True)
class JobTotals:
    """All totals; ``oldest_pending``: when the longest-waiting pending job was submitted, None if none waits."""

    types: list[TypeTotal] = field(default_factory=list)
    successes: list[LastSuccess] = field(default_factory=list)
    spendings: list[Spending] = field(default_factory=list)
    oldest_pending: float | None = None


def read_totals(queue: Queue) -> JobTotals:
    """Compute all totals."""
    return JobTotals(_list_totals(queue), _list_successes(queue), _list_spendings(queue), _find_oldest_pending(queue))


def _list_totals(queue: Queue) -> list[TypeTotal]:
    """The totals of jobs by type and status."""
    rows = queue.connection.execute(
        "SELECT type, status, count(*), sum(duration) FROM jobs GROUP BY type, status ORDER BY type, status"
    )
    return [TypeTotal(*row) for row in rows]


def _list_successes(queue: Queue) -> list[LastSuccess]:
    """The last success of each type on each source."""
    rows = queue.connection.execute(
        "SELECT type, coalesce(source, ''), max(unixepoch(finished_at)), duration FROM jobs"
        " WHERE status = 'completed' AND finished_at IS NOT NULL GROUP BY type, source ORDER BY type, source"
    )
    return [LastSuccess(*row) for row in rows]


def _list_spendings(queue: Queue) -> list[Spending]:
    """The API usage of each job type's phases, over all jobs that the state holds."""
    rows = queue.connection.execute(
        "SELECT json_extract(phase.value, '$.job') AS job,"
        " sum(coalesce(json_extract(phase.value, '$.result.tokens'), 0)),"
        " sum(coalesce(json_extract(phase.value, '$.result.price_usd'), 0))"
        " FROM jobs, json_each(jobs.phases) AS phase"
        " WHERE json_extract(phase.value, '$.result.price_usd') IS NOT NULL"
        " AND coalesce(json_extract(phase.value, '$.params.dry_run'), 0) = 0"
        " GROUP BY job ORDER BY job"
    )
    return [Spending(row[0], int(row[1]), float(row[2])) for row in rows]


def _find_oldest_pending(queue: Queue) -> float | None:
    """When the pending job that has waited longest was submitted, in seconds since 1970; None if none waits."""
    row = queue.connection.execute("SELECT min(unixepoch(created_at)) FROM jobs WHERE status = 'pending'").fetchone()
    return None if row[0] is None else float(row[0])
