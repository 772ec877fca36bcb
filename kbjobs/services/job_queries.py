"""What is asked of the jobs of a home. Nothing is written, and the home may be on a read-only disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kbjobs.config.home import Home, current_home
from kbjobs.config.settings import Settings
from kbjobs.daemon.launching import is_running
from kbjobs.embedding.dimensions import DIMENSIONS
from kbjobs.errors import NotFoundError, UsageError
from kbjobs.formatting import counted
from kbjobs.phases.names import known_names
from kbjobs.store import history
from kbjobs.store.checkpoints import Checkpoint
from kbjobs.store.history import Attempt
from kbjobs.store.jobs import Job
from kbjobs.store.locks import is_locked
from kbjobs.store.pauses import Pause, held_jobs, list_pauses
from kbjobs.store.queue import Queue
from kbjobs.store.snapshot import open_to_read
from kbjobs.store.transitions import Status


@dataclass(frozen=True, slots=True)
class DaemonState:
    """The daemon of a home; what it has not said of itself, or where none runs, is None or empty."""

    running: bool
    pid: int | None = None
    version: str | None = None
    started_at: str | None = None
    secrets: tuple[str, ...] = ()


class JobReader:
    """The jobs of one home, to be looked at."""

    def __init__(self, home: Home | None = None) -> None:
        self.home = home or current_home()
        self._queue: Queue | None = None
        self._inode = 0  # of the state that was looked at last

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return Settings(self.home)

    def close(self) -> None:
        """Close the state."""
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    def get_status(self, job_id: int) -> Job:
        """One job; raises NotFoundError."""
        return self._existing(job_id).get(job_id)

    def get_active_jobs(self, source_id: str | None = None) -> list[Job]:
        """Running jobs, then pending ones in the order in which they will start."""
        queue = self._readable()
        return [] if queue is None else history.active_jobs(queue, source_id)

    def get_job_history(
        self,
        limit: int = 50,
        max_age_days: float | None = 7,
        job_type: str | None = None,
        source_id: str | None = None,
        status: Status | None = None,
        text: str | None = None,
    ) -> list[Job]:
        """Jobs, the newest first; ``text`` is part of their error or message, in any case."""
        queue = self._readable()
        if queue is None:
            return []
        types = None if job_type is None else known_names(job_type)
        return history.list_jobs(queue, limit, max_age_days, types, source_id, status, text)

    def get_version(self) -> tuple[int, ...] | None:
        """Another value whenever anybody has written to the state, None where there is none: a cheap question.

        A state that was put in the place of another, as by a restore, is opened anew.
        """
        try:
            inode = self.home.state_file.stat().st_ino
        except FileNotFoundError:
            self.close()
            return None
        if inode != self._inode:
            self.close()
            self._inode = inode
        queue = self._readable()
        return None if queue is None else (inode, *queue.changes())

    def is_daemon_running(self) -> bool:
        """Whether a daemon serves this home; cheaper than :meth:`get_daemon`."""
        return is_running(self.home)

    def check_filters(self, job_type: str | None = None, source_id: str | None = None) -> None:
        """Raise NotFoundError where a filter names a type or a source that nobody knows, today or formerly."""
        if job_type is not None:
            from kbjobs.services.job_filters import check_type

            check_type(self.home, self._readable(), job_type)
        if source_id is not None:
            from kbjobs.services.job_filters import check_source

            check_source(self.home, self._readable(), source_id)

    def get_just_ended_jobs(self, limit: int, days: float = 1) -> list[Job]:
        """Jobs that ended within the last days, the latest first."""
        queue = self._readable()
        return [] if queue is None else history.just_ended(queue, limit, days)

    def get_pauses(self) -> list[Pause]:
        """What is paused: the whole queue first, then sources."""
        queue = self._readable()
        return [] if queue is None else list_pauses(queue.connection)

    def get_held_jobs(self) -> dict[int, Pause]:
        """The ids of waiting jobs that a pause holds, each with the pause."""
        queue = self._readable()
        return {} if queue is None else held_jobs(queue.connection)

    def get_failed_jobs(
        self, job_type: str | None = None, source_id: str | None = None, days: float | None = None
    ) -> list[Job]:
        """Jobs that failed and whose work is still undone, the oldest first: of the same work the newest alone.

        ``days``: those that ended within the last days. A job whose work waits or runs again is not among them.
        """
        queue = self._readable()
        if queue is None:
            return []
        types = None if job_type is None else known_names(job_type)
        return [
            job
            for job in history.failed_jobs(queue, days)
            if (types is None or job.type in types) and source_id in (None, job.source)
        ]

    def get_attempts(self, job_id: int) -> list[Attempt]:
        """Every attempt of a job: number, times, outcome, error."""
        return history.list_attempts(self._existing(job_id), job_id)

    def get_resumable_jobs(self) -> list[Job]:
        """Jobs that can go on: those that failed or were interrupted, and those whose worker is dead."""
        queue = self._readable()
        if queue is None:
            return []
        dead = [job for job in queue.running() if self.is_worker_dead(job)]
        return sorted([*dead, *history.resumable_jobs(queue)], key=lambda job: job.id)

    def get_checkpoint(self, chain: str, source_id: str | None) -> Checkpoint | None:
        """How far a chain has come on a source, where it has not succeeded."""
        queue = self._readable()
        return None if queue is None else queue.load_checkpoint(source_id, chain)

    def get_dimension_status(self) -> dict[int, dict[str, Any]]:
        """For each dimension: ``busy``, and the running job that works on it, its source and operation."""
        running = {job.dimension: job for job in self.get_active_jobs() if job.status is Status.RUNNING}
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

    def is_dimension_busy(self, dimension: int) -> bool:
        """Whether a running job works on vectors of that dimension."""
        status = self.get_dimension_status()
        if dimension not in status:
            raise UsageError(f"{dimension} is not a dimension", f"Choose one of {', '.join(map(str, DIMENSIONS))}.")
        return bool(status[dimension]["busy"])

    def get_available_dimensions(self) -> list[int]:
        """The dimensions on which no running job works."""
        return [dimension for dimension, status in self.get_dimension_status().items() if not status["busy"]]

    def get_daemon(self) -> DaemonState:
        """Whether the daemon runs, and its pid, version and start where it does."""
        if not is_running(self.home):
            return DaemonState(running=False)
        queue = self._readable()
        described = None if queue is None else queue.daemon()
        return DaemonState(running=True) if described is None else DaemonState(running=True, **asdict(described))

    def log_file(self, job: Job, attempt: int | None = None) -> Path:
        """The log of an attempt, by default the newest; raises NotFoundError where it has not begun."""
        wanted = attempt if attempt is not None else job.attempt
        path = self.home.log_file(job.id, wanted)
        if not path.exists():
            hint = "It has not started yet." if job.attempt == 0 else f"It has had {counted(job.attempt, 'attempt')}."
            raise NotFoundError(f"job {job.id} has no log of attempt {wanted}", hint)
        return path

    def is_worker_dead(self, job: Job) -> bool:
        """Whether a job is running by its status alone: its worker has ended without a word."""
        if job.status is not Status.RUNNING or job.run_id is None or is_locked(self.home.worker_lock(job.run_id)):
            return False
        # One that has just been started takes its lock in a moment, and one that has ended since has left a word.
        is_known = job.pid is not None or not is_running(self.home)
        return is_known and self._existing(job.id).get(job.id).run_id == job.run_id

    def as_dict(self, job: Job) -> dict[str, Any]:
        """The job as JSON, with whether its worker is dead, which its row does not tell."""
        return {**job.as_dict(), "worker_is_dead": self.is_worker_dead(job)}

    def _readable(self) -> Queue | None:
        if self._queue is None:
            self._queue = open_to_read(self.home.state_file)
        return self._queue

    def _existing(self, job_id: int) -> Queue:
        queue = self._readable()
        if queue is None:
            raise NotFoundError(f"there is no job {job_id}", "Nothing was ever submitted in this home.")
        return queue
