"""The daemon's questions to the queue: the next job, the running jobs, and when the next one is due."""

from __future__ import annotations

import json
import time
from typing import Any

from kbjobs.errors import ExitCode
from kbjobs.store import clocks
from kbjobs.store.connection import transaction
from kbjobs.store.database import Database
from kbjobs.store.jobs import JOB_COLUMNS, Job, job_from_row
from kbjobs.store.pauses import NOT_HELD
from kbjobs.store.state import set_durability
from kbjobs.store.transitions import Event, Status, after

HOUR = 3600

# A pending job that waits neither for a requested start nor for a retry after a transient error.
_DUE = (
    "status = 'pending' AND (not_before IS NULL OR not_before <= :wall)"
    " AND (retry_at IS NULL OR retry_boot <> :boot OR retry_at <= :boottime)"
)

# A running job holds at least one lock; an ended job holds none.
RUNNING = (
    f"SELECT {JOB_COLUMNS} FROM jobs WHERE id IN (SELECT job_id FROM locks) AND status = 'running'"
    " ORDER BY priority DESC, id"
)

# Jobs of one priority start in the order of their ids. A priority rises by one for each full hour that its first job
# has waited since it last came into the queue, or since its requested start; after a reboot, since that.
_WAITED = (
    "min(:boottime - iif(retry_boot = :boot, abs(coalesce(retry_at, 0)), 0), coalesce(:wall - not_before, :boottime))"
)
_FIRST = (
    "WITH RECURSIVE levels (level) AS (SELECT max(priority) FROM jobs WHERE status = 'pending'"
    " UNION ALL SELECT (SELECT max(priority) FROM jobs WHERE status = 'pending' AND priority < level)"
    " FROM levels WHERE level IS NOT NULL),"
    f" firsts (first) AS (SELECT (SELECT id FROM jobs AS j WHERE {_DUE} AND priority = level"
    f" AND (until IS NULL OR until > :wall) AND {NOT_HELD} AND NOT EXISTS ("
    " SELECT 1 FROM json_each(j.resources) AS r JOIN locks AS l ON l.resource = r.value)"
    " ORDER BY id LIMIT 1) FROM levels WHERE level IS NOT NULL)"
    " SELECT id, type FROM jobs JOIN firsts ON id = first"
    f" ORDER BY priority + CAST({_WAITED} / {HOUR} AS INTEGER) DESC, priority DESC LIMIT 1"
)

_CLAIM = (
    "UPDATE jobs SET status = :status, run_id = :run_id, pid = NULL, boot_id = :boot,"
    # A job that waited within an attempt continues that attempt.
    " attempt = attempt + (attempt_started_at IS NULL),"
    " saved_at_start = saved, retry_at = NULL, started_at = coalesce(started_at, :moment),"
    " attempt_started_at = coalesce(attempt_started_at, :moment), beat_at = :moment WHERE id = :id"
    f" RETURNING {JOB_COLUMNS}, resources"
)


def _clocks() -> dict[str, Any]:
    return {"wall": time.time(), "boot": clocks.boot_id(), "boottime": clocks.since_boot()}


class Claims(Database):
    """Claims the next job for a daemon, and answers its questions about running and waiting jobs."""

    durability: str

    def claim(self, run_id: str, slots: int | None = None, job_type: str | None = None) -> Job | None:
        """Take the next pending job whose resources are free, and lock them for ``run_id``.

        Args:
            run_id: the new run.
            slots: how many jobs may run at the same time; None for any number.
            job_type: take the next job only if it is of this type.

        The claim survives the kill of any process at once, and a power cut only after the worker has recorded itself,
        which it does first. After an earlier power cut the job is pending, as recovery would make it; this saves a sync
        before each start.

        Returns:
            The claimed job; None if there is none to take.
        """
        set_durability(self.connection, "NORMAL")
        try:
            with transaction(self.connection):
                moment = clocks.now_text()
                if slots is not None and self._count_running() >= slots:
                    return None
                first = self.connection.execute(_FIRST, _clocks()).fetchone()
                if first is None or job_type not in (None, first["type"]):
                    return None
                values = {"status": after(Status.PENDING, Event.CLAIM), "run_id": run_id, "moment": moment, **_clocks()}
                row = self.connection.execute(_CLAIM, {**values, "id": first["id"]}).fetchone()
                self.connection.executemany(
                    "INSERT INTO locks (resource, job_id, run_id) VALUES (?, ?, ?)",
                    [(name, row["id"], run_id) for name in json.loads(row["resources"]) or [f"job:{row['id']}"]],
                )
        finally:
            set_durability(self.connection, self.durability)
        return job_from_row(row[:-1])

    def _count_running(self) -> int:
        return int(self.connection.execute("SELECT count(DISTINCT run_id) FROM locks").fetchone()[0])

    def is_running(self, job_id: int, run_id: str) -> bool:
        """Whether a job is still in a certain run."""
        found = self.connection.execute(
            "SELECT 1 FROM jobs WHERE id = ? AND status = 'running' AND run_id = ?", (job_id, run_id)
        )
        return found.fetchone() is not None

    def running(self) -> list[Job]:
        """The jobs whose status is running, whichever daemon runs them."""
        rows = self.connection.execute(RUNNING)
        return [job_from_row(row) for row in rows]

    def count_pending(self) -> int:
        """The number of pending jobs."""
        return int(self.connection.execute("SELECT count(*) FROM jobs WHERE status = 'pending'").fetchone()[0])

    def next_due(self) -> float | None:
        """Seconds until the next start time, retry or time limit of a pending job; None if there is none."""
        found = self.connection.execute(
            "SELECT min(CASE WHEN not_before > :wall THEN not_before - :wall END),"
            " min(CASE WHEN retry_boot = :boot AND retry_at > :boottime THEN retry_at - :boottime END)"
            f" FROM jobs WHERE status = 'pending' AND NOT ({_DUE})",
            _clocks(),
        ).fetchone()
        until = self.connection.execute(
            "SELECT min(until) - ? FROM jobs WHERE status = 'pending'", (time.time(),)
        ).fetchone()
        waits = [wait for wait in (*found, *until) if wait is not None]
        return max(0.0, min(waits)) if waits else None

    def expire_pending(self) -> list[int]:
        """End the pending jobs whose time limit has passed; returns their ids."""
        with transaction(self.connection):
            rows = self.connection.execute(
                "UPDATE jobs SET status = ?, reason = 'time_limit', exit_code = ?, finished_at = ?,"
                " message = iif(attempt_started_at IS NULL, 'time limit reached before it could run',"
                " 'time limit reached; what was done is kept')"
                " WHERE status = 'pending' AND until <= ? RETURNING id",
                (after(Status.PENDING, Event.EXPIRE), ExitCode.TIME_LIMIT, clocks.now_text(), time.time()),
            ).fetchall()
        return [row[0] for row in rows]
