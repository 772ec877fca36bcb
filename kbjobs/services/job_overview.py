"""A home at a glance: running jobs, waiting jobs with the reason, resumable jobs, and recent ones."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from kbjobs.services import job_queries
from kbjobs.services.job_state import JobState
from kbjobs.store import history, pauses
from kbjobs.store.jobs import Job, JobRun
from kbjobs.store.pauses import Pause
from kbjobs.store.transitions import Status
from kbjobs.store.waits import Blocker, find_blockers

DAYS = 1.0
"""How many days back ended jobs and attempts are shown."""

MAX_ENDED = 100


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """A job that waits.

    Args:
        job: the job.
        why: the reason, for people; "not before" if ``moment`` completes it.
        blocker: the id of the job that it waits for, if any.
        moment: when it may start, in seconds since 1970, if that is why it waits.
    """

    job: Job
    why: str
    blocker: int | None = None
    moment: float | None = None


@dataclass(frozen=True, slots=True)
class JobOverview:
    """A home at a glance.

    Args:
        running: the running jobs.
        dead: the ids of running jobs whose worker has died.
        waiting: the pending jobs, in the order in which they will be claimed.
        resumable: jobs that can be resumed, newest first; none whose work another job has completed since.
        ended: the other jobs that ended within the last day, newest first.
        runs: the attempts of the last day, oldest first.
        pauses: the pauses in force.
    """

    running: list[Job] = field(default_factory=list)
    dead: frozenset[int] = frozenset()
    waiting: list[WaitingJob] = field(default_factory=list)
    resumable: list[Job] = field(default_factory=list)
    ended: list[Job] = field(default_factory=list)
    runs: list[JobRun] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)


def describe_jobs(state: JobState) -> JobOverview:
    """Read the overview of a home's jobs."""
    queue = state.readable()
    if queue is None:
        return JobOverview()
    active = history.active_jobs(queue)
    running = [job for job in active if job.status is Status.RUNNING]
    dead = frozenset(job.id for job in running if state.is_worker_dead(job))
    resumable = [job for job in reversed(job_queries.find_resumable(state)) if job.id not in dead]
    shown = {job.id for job in resumable}
    return JobOverview(
        running,
        dead,
        explain_waits(state, active),
        resumable,
        [job for job in history.just_ended(queue, MAX_ENDED, DAYS) if job.id not in shown],
        history.list_runs(queue, DAYS),
        pauses.list_pauses(queue),
    )


def explain_waits(state: JobState, active: list[Job]) -> list[WaitingJob]:
    """The pending jobs, each with the reason why it waits.

    Args:
        state: the jobs of a home.
        active: its running and pending jobs, in the order in which they will be claimed.
    """
    queue = state.readable()
    if queue is None:
        return []
    held, blockers = pauses.held_jobs(queue), find_blockers(queue)
    busy = sum(job.status is Status.RUNNING for job in active)
    has_daemon = job_queries.describe_daemon(state).running
    slots = state.settings.integer("workers")
    found = []
    for job in active:
        if job.status is not Status.PENDING:
            continue
        if job.id in held:
            found.append(WaitingJob(job, f"{held[job.id].what} is paused: {held[job.id].remedy}"))
        elif job.not_before is not None and job.not_before > time.time():
            found.append(WaitingJob(job, "not before", moment=job.not_before))
        elif job.id in blockers:
            found.append(WaitingJob(job, _describe_blocker(blockers[job.id]), blockers[job.id].job_id))
        elif job.is_waiting or job.retried:
            found.append(WaitingJob(job, job.message or "it is tried again by itself"))
        elif not has_daemon:
            found.append(WaitingJob(job, "no daemon runs: kbjobs daemon start"))
        elif busy >= slots:
            found.append(WaitingJob(job, "the only slot is busy" if slots == 1 else f"all {slots} slots are busy"))
        else:
            found.append(WaitingJob(job, "starts next"))
    return found


def _describe_blocker(blocker: Blocker) -> str:
    what = "the same source" if blocker.resource.startswith("source:") else "the same output"
    return f"works on {what}" if blocker.is_running else f"is before it, and needs {what}"
