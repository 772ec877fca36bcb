"""Actions on jobs: submit, cancel, pause, resume, prune."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from kbjobs.daemon.wake_pipe import nudge
from kbjobs.errors import ConflictError, KbjobsError, UnavailableError
from kbjobs.services.job_events import POLL_SECONDS
from kbjobs.services.job_plans import secrets_check
from kbjobs.services.job_state import JobState
from kbjobs.store import history, pauses
from kbjobs.store.connection import is_disk_full
from kbjobs.store.job_pruning import prune_jobs
from kbjobs.store.jobs import Job, LimitChanges
from kbjobs.store.pauses import Held, Pause
from kbjobs.store.queue import DuplicateJobError
from kbjobs.store.sources import SourceFolder
from kbjobs.system.crashpoints import crash_point

if TYPE_CHECKING:
    from kbjobs.chains.planning import Planned
    from kbjobs.store.jobs import NewJob

RECOVERY_SECONDS = 30.0  # how long a daemon may take to find that a worker is dead

OnError = Callable[[int, KbjobsError], None]
"""Called with the id of one of several jobs for which an action failed, and the error."""

OnNote = Callable[[str], None]
"""Called with notes for the user before jobs are resumed."""


def refuse(job_id: int, error: KbjobsError) -> None:
    """An ``OnError`` for a single job: it raises the error."""
    raise error


def ignore(note: str) -> None:
    """An ``OnNote`` for callers that show nothing."""


def enqueue(state: JobState, planned: Sequence[Planned]) -> list[Job]:
    """Queue planned jobs, all or none, and make sure that a daemon runs. Raises DuplicateJobError."""
    state.home.prepare()
    new = [one.job for one in planned]
    _reach(state, new)
    try:
        jobs = state.opened().submit_all(new)
    except DuplicateJobError:
        state.wake()  # after a reboot, the existing job may be waiting for a daemon that resumes it
        raise
    except UnavailableError as error:
        # A deletion frees space, so it must be possible on a full disk.
        if not (is_disk_full(error.__cause__) and any(one.ends_source for one in new)):
            raise
        state.home.give_up_reserve()
        jobs = state.opened().submit_all(new)
    crash_point("submit.committed")
    state.wake()
    return jobs


def _reach(state: JobState, jobs: Sequence[NewJob]) -> None:
    """Check once per job type and parameters that the services it needs are reachable; passes on their errors."""
    from kbjobs.phases.job_type import PhaseRequest
    from kbjobs.phases.registry import job_type

    asked = set()
    for phase in (phase for job in jobs for phase in job.phases):
        kind = job_type(phase.job)
        params = kind.params.model_validate(phase.params)
        if (kind.name, repr(params)) not in asked:
            asked.add((kind.name, repr(params)))
            kind.reach(PhaseRequest(state.home, state.settings, params))


def cancel(state: JobState, job_id: int) -> Job:
    """Request the cancel of a job; on a full disk, the space reserved for this is used."""
    try:
        job = state.writable(job_id).cancel(job_id)
    except UnavailableError as error:
        if not is_disk_full(error.__cause__):
            raise
        state.home.give_up_reserve()
        job = state.writable(job_id).cancel(job_id)
    nudge(state.home.wake_pipe)
    return job


def pause(state: JobState, source_id: str | None, stop_running: bool) -> Held:
    """Pause a source or the whole queue.

    Args:
        state: the jobs of a home.
        source_id: the source's id, None for all jobs.
        stop_running: whether running jobs stop at a checkpoint; otherwise they finish.
    """
    state.home.prepare()
    held = pauses.put_pause(state.opened(), source_id, stop_running)
    crash_point("pause.committed")
    if held.stopping:
        state.wake()  # the daemon stops a worker that does not stop by itself
    return held


def unpause(state: JobState, source_id: str | None) -> Pause | None:
    """End the pause of a source, or of the whole queue for None; returns it, None if there was none."""
    if state.readable() is None:
        return None
    queue = state.opened()
    ended = pauses.end_pause(queue, source_id)
    crash_point("pause.ended")
    if ended is not None and (queue.count_pending() or queue.running()):
        state.wake()
    return ended


def prune(state: JobState, days: float, dry_run: bool) -> list[Job]:
    """Delete a few hundred old jobs with their logs.

    Args:
        state: the jobs of a home.
        days: how long ago a job must have ended.
        dry_run: whether to list only.

    Returns:
        The jobs that were, or would be, deleted.
    """
    queue = state.readable()
    if queue is None:
        return []
    jobs = history.old_jobs(queue, days)
    return jobs if dry_run or not jobs else prune_jobs(state.home, state.opened(), days)


def run_again(
    state: JobState,
    job_ids: Iterable[int],
    changes: LimitChanges | None,
    from_start: bool,
    on_error: OnError,
    on_note: OnNote,
) -> list[Job]:
    """Queue ended jobs, or jobs with a dead worker, again under their ids; returns those that are queued.

    Args:
        state: the jobs of a home.
        job_ids: the ids of the jobs.
        changes: new limits, None to keep the old ones.
        from_start: whether to run from the start instead of resuming.
        on_error: called for each job that cannot be queued; the others are queued.
        on_note: called with notes for the user before anything is queued.
    """
    # All jobs are examined before the first is queued, because the daemon woken for it recovers the others, too.
    found: list[tuple[Job, bool]] = []
    for job_id in dict.fromkeys(job_ids):
        try:
            job = state.writable(job_id).get(job_id)
            notes = _check_again(state, job, from_start)
            (changes or LimitChanges()).applied(job)
            is_dead = state.is_worker_dead(job)
            if is_dead and (from_start or changes is not None):
                cancel(state, job_id)  # recovery would resume from the checkpoint with the old limits
            found.append((job, is_dead))
            for note in notes:
                on_note(note)
        except KbjobsError as error:
            on_error(job_id, error)
    queued = []
    for job, is_dead in found:
        try:
            queued.append(_queue_again(state, job, is_dead, changes, from_start))
        except KbjobsError as error:
            on_error(job.id, error)
    return queued


def _queue_again(state: JobState, job: Job, is_dead: bool, changes: LimitChanges | None, from_start: bool) -> Job:
    state.home.prepare()
    if not job.has_ended:  # a daemon is needed even if the job need not be resumed
        state.wake()
    now = _await_recovery(state, job) if is_dead else job
    if not is_dead or from_start or changes is not None or now.has_ended:
        now = state.opened().resume(job.id, changes, from_start)
        state.wake()
    return now


def _await_recovery(state: JobState, job: Job) -> Job:
    """Wait until a daemon has found the worker dead; returns the job. Raises UnavailableError if it takes too long."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    queue = state.existing(job.id)
    while (now := queue.get(job.id)).run_id == job.run_id:
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"job {job.id} was not recovered within {RECOVERY_SECONDS:.0f} s", f"See {state.home.daemon_log}."
            )
        time.sleep(POLL_SECONDS)
    return now


def _check_again(state: JobState, job: Job, from_start: bool) -> tuple[str, ...]:
    """Check what the remaining phases will need, as a submit does; returns the notes."""
    from kbjobs.chains.planning import Planner

    if job.source_deleted_at is not None and job.source is not None:
        _refuse_deleted(state, job, job.source)
    phases = job.phases if from_start else [phase for phase in job.phases if not phase.is_completed]
    return Planner(state.home, state.settings, secrets_check(state)).check_phases(phases, job.source)


def _refuse_deleted(state: JobState, job: Job, source_id: str) -> None:
    """Raise ConflictError unless the job can finish the deletion: a source with that id would be another source."""
    is_there_again = SourceFolder(state.home.sources, source_id).manifest.exists()
    if job.ends_source and not is_there_again:
        return  # the job may still delete the rest of the source
    raise ConflictError(
        f"job {job.id} was for a source {source_id!r} that was deleted on {job.source_deleted_at}",
        "The source of that id is a new one: submit a new job for it."
        if is_there_again
        else f"Register a new one with kbjobs sources add {source_id} PATH, then submit a new job for it.",
    )
