"""Following jobs: what happens to them, told as events."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from kbjobs.daemon.launching import ensure_daemon
from kbjobs.errors import UnavailableError
from kbjobs.settings import Home
from kbjobs.store.jobs import Job
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Status

POLL_SECONDS = 0.1
REVIVE_SECONDS = 1.0  # between two looks whether the daemon of a followed job still lives

EventName = Literal["queued", "started", "phase", "progress", "retry", "finished"]


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a followed job, and the job as it stands."""

    event: EventName
    job: Job


def follow_jobs(home: Home, queue: Queue, job_ids: Sequence[int], revive: bool) -> Iterator[JobEvent]:
    """What happens to the jobs until all have ended. ``revive``: start a daemon where it has died."""
    before: dict[int, Job] = {}
    version, next_look = (-1, -1), 0.0
    inode = home.state_file.stat().st_ino
    while True:
        if not home.state_file.exists() or home.state_file.stat().st_ino != inode:
            raise UnavailableError(f"{home.state_file} was removed or replaced", "See kbjobs status.")
        if revive and time.monotonic() >= next_look:
            ensure_daemon(home)
            next_look = time.monotonic() + REVIVE_SECONDS
        if (current := queue.changes()) != version or not before:
            version = current
            for job_id in job_ids:
                job = queue.get(job_id)
                yield from _events(before.get(job_id), job)
                before[job_id] = job
            if all(job.has_ended for job in before.values()):
                return
        # SQLite has no way to be woken by another process's write.
        time.sleep(POLL_SECONDS)


def _events(before: Job | None, job: Job) -> Iterator[JobEvent]:
    """What must have happened between two looks at a job; short lives are told whole."""
    if before is None and not job.has_ended:
        yield JobEvent("queued", job)
    seen = before.attempt if before is not None else job.attempt - (job.status is Status.RUNNING)
    was_running = before is not None and before.status is Status.RUNNING
    if was_running and (job.attempt > seen or (job.status is Status.PENDING and not job.is_waiting)):
        yield JobEvent("retry", job)
    if job.attempt > seen:
        yield JobEvent("started", job)
    if job.has_ended:
        if before is None or not before.has_ended:
            yield JobEvent("finished", job)
    elif job.status is Status.RUNNING or job.is_waiting:
        yield from _progress_events(before, job)


def _progress_events(before: Job | None, job: Job) -> Iterator[JobEvent]:
    name = job.phase.name if job.phase else None
    if name is not None and (before is None or before.phase is None or before.phase.name != name):
        yield JobEvent("phase", job)
    elif before is not None:
        shown = (before.progress, before.message, before.phase)
        if shown != (job.progress, job.message, job.phase):
            yield JobEvent("progress", job)
