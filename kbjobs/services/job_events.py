"""Following jobs as a stream of events."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon
from kbjobs.errors import TimeLimitError, UnavailableError
from kbjobs.formatting import agreeing, duration
from kbjobs.store.jobs import Job
from kbjobs.store.pauses import Pause, held_jobs
from kbjobs.store.queue import Queue
from kbjobs.store.transitions import Status

POLL_SECONDS = 0.1
REVIVE_SECONDS = 1.0  # between two checks that the daemon of a followed job is alive

HELD_SECONDS = 60.0  # between two events that report that a job is held

EventName = Literal["queued", "held", "started", "phase", "progress", "retry", "finished"]


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An event of a followed job, with the job's current state; ``pause`` is the pause that holds a held job."""

    event: EventName
    job: Job
    pause: Pause | None = None


def follow_jobs(
    home: Home, queue: Queue, job_ids: Sequence[int], revive: bool, seconds: float = math.inf
) -> Iterator[JobEvent]:
    """Yield the events of jobs until all have ended.

    Args:
        home: the home of the jobs.
        queue: its open state.
        job_ids: the jobs to follow.
        revive: whether to start a daemon if none is running.
        seconds: how long to follow them.

    Raises:
        TimeLimitError: the jobs have not ended within ``seconds``.
        UnavailableError: the state was removed or replaced.
    """
    before: dict[int, Job] = {}
    holds = _Holds()
    deadline = time.monotonic() + seconds
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
            holds.held = held_jobs(queue, job_ids)
        yield from holds.events(before)
        if time.monotonic() >= deadline:
            raise _too_long([job.id for job in before.values() if not job.has_ended], seconds)
        # SQLite cannot wake a reader when another process writes.
        time.sleep(POLL_SECONDS)


class _Holds:
    """Reports that jobs are held by a pause: when that starts, every minute while it lasts, and when it ends."""

    def __init__(self) -> None:
        self.held: dict[int, Pause] = {}
        self._next: dict[int, float] = {}  # when to report a job again, by the monotonic clock

    def events(self, jobs: Mapping[int, Job]) -> Iterator[JobEvent]:
        """Yield the events that are due for the jobs, given by their ids."""
        now = time.monotonic()
        for job_id in self._next.keys() - self.held.keys():
            del self._next[job_id]
            if jobs[job_id].status is Status.PENDING:
                yield JobEvent("queued", jobs[job_id])
        for job_id, pause in self.held.items():
            if now >= self._next.get(job_id, now):
                self._next[job_id] = now + HELD_SECONDS
                yield JobEvent("held", jobs[job_id], pause)


def _too_long(ids: Sequence[int], seconds: float) -> TimeLimitError:
    names = " ".join(map(str, ids))
    subject = agreeing(len(ids), "job", "has", "have")
    return TimeLimitError(
        f"after {duration(seconds)} {subject} not ended: {names}",
        f"Queued and running jobs continue; kbjobs wait {names} waits again, kbjobs status shows how it stands.",
    )


def _events(before: Job | None, job: Job) -> Iterator[JobEvent]:
    """Yield the events that must have happened between two reads of a job, even if it started and ended meanwhile."""
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
