"""Which jobs wait for other jobs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from kbjobs.store.queue import Queue


@dataclass(frozen=True, slots=True)
class Blocker:
    """The job that another waits for: its id, the resource that both need, and whether it runs."""

    job_id: int
    resource: str
    is_running: bool


def find_blockers(queue: Queue) -> dict[int, Blocker]:
    """For each blocked pending job, the job that holds a resource it needs, or is ahead of it and needs the same."""
    rows = queue.connection.execute("SELECT resource, job_id FROM locks")
    taken = {row["resource"]: Blocker(row["job_id"], row["resource"], True) for row in rows}
    blockers: dict[int, Blocker] = {}
    now = time.time()
    for row in queue.connection.execute(
        "SELECT id, resources, not_before FROM jobs WHERE status = 'pending' ORDER BY priority DESC, id"
    ):
        wanted = json.loads(row["resources"])
        blocker = next((taken[name] for name in wanted if name in taken), None)
        if blocker is not None:
            blockers[row["id"]] = blocker
        if row["not_before"] is None or row["not_before"] <= now:  # a job that is not due lets others pass
            for name in wanted:
                taken.setdefault(name, Blocker(row["id"], name, False))
    return blockers
