"""Forget jobs that ended long ago: their rows, attempts and logs."""

from __future__ import annotations

from kbjobs.config.home import Home
from kbjobs.store import history
from kbjobs.store.jobs import Job
from kbjobs.store.queue import Queue


def prune_jobs(home: Home, queue: Queue, days: float) -> list[Job]:
    """Delete a few hundred old jobs with their logs, so that nobody waits long for the state.

    Args:
        home: the home with the logs.
        queue: the queue, opened for writing.
        days: how long ago a job must have ended.

    Returns:
        The deleted jobs; call it again until there are none.
    """
    jobs = history.old_jobs(queue, days)
    history.delete_jobs(queue, jobs)
    for job in jobs:
        for attempt in range(job.attempt + 1):  # 0: output of the finish hook of a job that never started
            home.log_file(job.id, attempt).unlink(missing_ok=True)
    return jobs
