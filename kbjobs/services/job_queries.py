"""Queries about the jobs of a home. They write nothing, and the home may be on a read-only disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running
from kbjobs.embedding.dimensions import DIMENSIONS
from kbjobs.errors import NotFoundError
from kbjobs.formatting import counted
from kbjobs.phases.names import INTERNAL, LEGACY, NAMES, known_names
from kbjobs.services.job_state import JobState
from kbjobs.store import history
from kbjobs.store.jobs import Job, job_key
from kbjobs.store.queue import Queue
from kbjobs.store.sources import list_source_ids
from kbjobs.store.transitions import Status


@dataclass(frozen=True, slots=True)
class DaemonState:
    """The daemon of a home; unknown values are None or empty, as are all if no daemon is running."""

    running: bool
    pid: int | None = None
    version: str | None = None
    started_at: str | None = None
    secrets: tuple[str, ...] = ()


def find_failed(state: JobState, job_type: str | None, source_id: str | None, days: float | None) -> list[Job]:
    """List failed jobs whose work has not been done since, oldest first; for equal jobs only the newest.

    Args:
        state: the jobs of a home.
        job_type: only jobs of this type, None for all.
        source_id: only jobs of this source, None for all.
        days: only jobs that ended within the last days, None for all.
    """
    queue = state.readable()
    if queue is None:
        return []
    types = None if job_type is None else known_names(job_type)
    return [
        job
        for job in history.failed_jobs(queue, days)
        if (types is None or job.type in types) and source_id in (None, job.source)
    ]


def find_resumable(state: JobState) -> list[Job]:
    """Jobs that can be resumed: failed, interrupted, or with a dead worker."""
    queue = state.readable()
    if queue is None:
        return []
    dead = [job for job in queue.running() if state.is_worker_dead(job)]
    return sorted([*dead, *history.resumable_jobs(queue)], key=lambda job: job.id)


def keep_newest(jobs: Iterable[Job]) -> list[Job]:
    """Keep only the newest of equal jobs, since only one of them can be live."""
    newest = {job_key(job.type, job.source, job.phases): job for job in sorted(jobs, key=lambda job: job.id)}
    return sorted(newest.values(), key=lambda job: job.id)


def describe_dimensions(active: Iterable[Job]) -> dict[int, dict[str, Any]]:
    """For each dimension: ``busy``, and the running job that works on it, its source and operation."""
    running = {job.dimension: job for job in active if job.status is Status.RUNNING}
    found: dict[int, dict[str, Any]] = {}
    for dimension in DIMENSIONS:
        job = running.get(dimension)
        found[dimension] = {
            "busy": job is not None,
            "job": job.id if job else None,
            "source": job.source if job else None,
            "operation": job.operation if job else None,
        }
    return found


def describe_daemon(state: JobState) -> DaemonState:
    """Whether the daemon is running, with its pid, version, start and secrets if it is."""
    if not is_running(state.home):
        return DaemonState(running=False)
    queue = state.readable()
    described = None if queue is None else queue.daemon()
    return DaemonState(running=True) if described is None else DaemonState(running=True, **asdict(described))


def find_log(home: Home, job: Job, attempt: int | None) -> Path:
    """Find the log of an attempt.

    Args:
        home: the home of the job.
        job: the job.
        attempt: its number, None for the newest.

    Raises:
        NotFoundError: the attempt has not begun.
    """
    wanted = attempt if attempt is not None else job.attempt
    path = home.log_file(job.id, wanted)
    if not path.exists():
        hint = "It has not started yet." if job.attempt == 0 else f"It has had {counted(job.attempt, 'attempt')}."
        raise NotFoundError(f"job {job.id} has no log of attempt {wanted}", hint)
    return path


def check_type(home: Home, queue: Queue | None, job_type: str) -> None:
    """Check that a job type exists or existed.

    Args:
        home: the home, whose chains count as types.
        queue: the state, whose earlier jobs' types count too; None if there is none yet.
        job_type: the name to check.

    Raises:
        NotFoundError: it is not a job type, a chain, an old name of a type, or the label of an earlier job.
    """
    from kbjobs.chains.library import list_chain_files
    from kbjobs.phases.registry import is_taken

    wanted = job_type.replace("-", "_")
    if is_taken(wanted):
        return
    known = {*NAMES, *LEGACY, *(listed.name for listed in list_chain_files(home))}
    known |= set(history.known_types(queue)) - set(INTERNAL) if queue is not None else set()
    if wanted not in known:
        near = _suggest(wanted, known).replace("_", "-")
        raise NotFoundError(f"there is no job type {job_type!r}", near + "kbjobs types lists them.")


def check_source(home: Home, queue: Queue | None, source_id: str) -> None:
    """Check that a source exists or once had a job.

    Args:
        home: the home of the sources.
        queue: the state, None if there is none yet.
        source_id: the id to check.

    Raises:
        NotFoundError: it is not registered and never had a job.
    """
    known = {*list_source_ids(home.sources), *(history.known_sources(queue) if queue is not None else ())}
    if source_id not in known:
        near = _suggest(source_id, known)
        raise NotFoundError(f"there is no source {source_id!r}", near + "kbjobs sources list shows them.")


def _suggest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, sorted(known), 1)
    return f"Did you mean {near[0]}? " if near else ""
