"""Why jobs wait, as far as other jobs are the reason."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from kbjobs.store.queue import Queue


@dataclass(frozen=True, slots=True)
class Blocker:
    """The job that another waits for: its id, the name of what both need, and whether it runs already."""

    job_id: int
    resource: str
    is_running: bool


def find_blockers(queue: Queue) -> dict[int, Blocker]:
    """For each waiting job that has one, the job that holds what it needs, or stands before it and needs the same."""
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
        if row["not_before"] is None or row["not_before"] <= now:  # one that is not due lets others pass
            for name in wanted:
                taken.setdefault(name, Blocker(row["id"], name, False))
    return blockers
