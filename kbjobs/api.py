"""The front door: commands and Python callers submit, ask and cancel through it and through nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbjobs.crashpoints import crash_point
from kbjobs.credentials import names_in_environment, stored_secrets
from kbjobs.daemon.launching import ensure_daemon, is_running
from kbjobs.daemon.locks import is_locked
from kbjobs.daemon.waking import nudge
from kbjobs.embedding.dimensions import DIMENSIONS
from kbjobs.errors import MissingRequirementError, NotFoundError, UnavailableError, UsageError
from kbjobs.following import POLL_SECONDS, JobEvent, follow_jobs
from kbjobs.phases.names import known_names
from kbjobs.settings import Home, Settings, current_home
from kbjobs.store import history
from kbjobs.store.checkpoints import Checkpoint
from kbjobs.store.connection import is_disk_full
from kbjobs.store.history import Attempt
from kbjobs.store.jobs import Job, LimitChanges, Limits
from kbjobs.store.queue import Queue
from kbjobs.store.snapshot import Snapshot, open_to_read
from kbjobs.store.sources import check_source_id
from kbjobs.store.transitions import Status

if TYPE_CHECKING:
    from kbjobs.chains.chain import Chain
    from kbjobs.chains.planning import Planned
    from kbjobs.phases.base import JobType, Plan

RECOVERY_SECONDS = 30.0  # for a daemon to find that a worker is dead


@dataclass(frozen=True, slots=True)
class DaemonState:
    """The daemon of a home; what it has not said of itself, or where none runs, is None or empty."""

    running: bool
    pid: int | None = None
    version: str | None = None
    started_at: str | None = None
    secrets: tuple[str, ...] = ()


class JobManager:
    """Jobs of one home. Opening it writes nothing; a submit creates what is missing."""

    def __init__(self, home: Home | None = None) -> None:
        self.home = home or current_home()
        self._queue: Queue | None = None

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return Settings(self.home)

    def close(self) -> None:
        """Close the state."""
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    # -- writing ----------------------------------------------------------------------------------

    def submit(
        self,
        job_type: str,
        source_id: str | None,
        func: Callable[..., Any] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> int:
        """Queue a job and return its id; the daemon is started where none runs.

        Without ``func``, ``job_type`` is a registered type or a chain, and ``kwargs`` are the parameters. With it,
        ``func`` is a callable that a worker can import, a function of a module; it is called with ``args`` and
        ``kwargs``, which are JSON values, and where it accepts them with ``progress_callback`` and
        ``cancel_checker``; ``job_type`` is then the label under which the job waits, runs and is listed, whatever it
        is. What the job will need is checked first.
        Raises UsageError, NotFoundError, ConflictError, MissingRequirementError, UnavailableError.
        """
        if func is None:
            if args:
                raise UsageError(
                    "parameters are given by name", f"For example: submit({job_type!r}, 'wiki', force=True)"
                )
            return self.submit_job(job_type, source_id, kwargs).id
        from kbjobs.chains.chain import function_chain
        from kbjobs.phases.python_function import describe_function

        chain = function_chain(job_type, describe_function(func, args, kwargs))
        return self.enqueue([self.plan(chain, source_id)])[0].id

    def submit_job(
        self,
        name: str,
        source_id: str | None,
        params: dict[str, Any],
        priority: int = 0,
        limits: Limits | None = None,
        resume: bool = False,
    ) -> Job:
        """Queue a job of a registered type, or a chain, and return it.

        Raises DuplicateJobError, a ConflictError that names the job, where the same job is pending or running.
        """
        return self.enqueue([self.plan(self.find_chain(name, params), source_id, priority, limits, resume)])[0]

    def find_chain(self, name: str, params: dict[str, Any]) -> Chain:
        """A job type with its parameters as a chain of one, or a chain of that name.

        Raises UsageError, NotFoundError.
        """
        from kbjobs.chains.file.finding import find_chain

        return find_chain(self.home, name, params)

    def plan(
        self,
        chain: Chain,
        source_id: str | None,
        priority: int = 0,
        limits: Limits | None = None,
        resume: bool = False,
    ) -> Planned:
        """Check what every phase of a job will need, and fill in the defaults. Nothing is queued."""
        from kbjobs.chains.planning import plan_job

        if source_id is not None:
            check_source_id(source_id)
        checkpoint = self.get_checkpoint(chain.name, source_id)
        if checkpoint is not None and not resume and not self._has_ended(checkpoint.job_id):
            checkpoint = None  # of a job that is at work: it is not left aside
        return plan_job(
            self.home, self.settings, chain, source_id, checkpoint, resume, priority, limits, self._require_secrets
        )

    def enqueue(self, planned: Sequence[Planned]) -> list[Job]:
        """Queue planned jobs, all or none, and start the daemon where none runs. Raises DuplicateJobError."""
        self.home.prepare()
        jobs = self._opened().submit_all([one.job for one in planned])
        crash_point("submit.committed")
        self._wake()
        return jobs

    def cancel(self, job_id: int) -> Job:
        """Record the wish to cancel; a pending job is cancelled at once, a running one stops shortly.

        Where the disk is full, the space that is set aside for this is given up.
        """
        try:
            job = self._writable(job_id).cancel(job_id)
        except UnavailableError as error:
            if not is_disk_full(error.__cause__):
                raise
            self.home.give_up_reserve()
            job = self._writable(job_id).cancel(job_id)
        nudge(self.home.wake_pipe)
        return job

    def resume(self, job_id: int, changes: LimitChanges | None = None) -> Job:
        """Put an ended job back in the queue under its id, to go on from what is saved.

        What its phases will need is checked first, as by a submit. A job whose worker is dead, because daemon and
        worker were killed or the machine went down, goes on by itself once a daemon runs: that is waited for.
        """
        return self._again(job_id, changes, from_start=False)

    def retry(self, job_id: int) -> Job:
        """Put an ended job, or one whose worker is dead, back in the queue under its id, to run from the start."""
        return self._again(job_id, None, from_start=True)

    def is_worker_dead(self, job: Job) -> bool:
        """Whether a job is running by its status alone: its worker has ended without a word."""
        if job.status is not Status.RUNNING or job.run_id is None or is_locked(self.home.worker_lock(job.run_id)):
            return False
        # One that has just been started takes its lock in a moment.
        return job.pid is not None or not is_running(self.home)

    def prune(self, days: float, dry_run: bool = False) -> list[Job]:
        """Forget jobs that ended more than ``days`` days ago, with their logs; returns them.

        At most a few hundred in one call, so that nothing waits long for it; call again while it returns any.
        """
        queue = self._readable()
        if queue is None:
            return []
        jobs = history.old_jobs(queue, days)
        if not dry_run and jobs:
            history.delete_jobs(self._opened(), jobs)
            for job in jobs:
                for attempt in range(1, job.attempt + 1):
                    self.home.log_file(job.id, attempt).unlink(missing_ok=True)
        return jobs

    def prune_checkpoints(self, days: float, dry_run: bool = False) -> list[Checkpoint]:
        """Forget checkpoints older than ``days`` days, of jobs that have ended; returns them."""
        queue = self._readable()
        if queue is None:
            return []
        return (queue if dry_run else self._opened()).delete_stale_checkpoints(days, dry_run)

    # -- asking -----------------------------------------------------------------------------------

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
    ) -> list[Job]:
        """Jobs, the newest first."""
        queue = self._readable()
        if queue is None:
            return []
        types = None if job_type is None else known_names(job_type)
        return history.list_jobs(queue, limit, max_age_days, types, source_id, status)

    def check_filters(self, job_type: str | None = None, source_id: str | None = None) -> None:
        """Raise NotFoundError where a filter names a type or a source that nobody knows, today or formerly."""
        if job_type is not None:
            from kbjobs.filters import check_type

            check_type(self.home, self._readable(), job_type)
        if source_id is not None:
            from kbjobs.filters import check_source

            check_source(self.home, self._readable(), source_id)

    def get_just_ended_jobs(self, limit: int, days: float = 1) -> list[Job]:
        """Jobs that ended within the last days, the latest first."""
        queue = self._readable()
        return [] if queue is None else history.just_ended(queue, limit, days)

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
            raise UsageError(f"{dimension} is not a dimension", f"They are {', '.join(map(str, DIMENSIONS))}.")
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
            hint = "It has not started yet." if job.attempt == 0 else f"It has had {job.attempt} attempt(s)."
            raise NotFoundError(f"job {job.id} has no log of attempt {wanted}", hint)
        return path

    def follow(self, job_ids: Sequence[int], revive: bool) -> Iterator[JobEvent]:
        """What happens to the jobs until all have ended. ``revive``: start a daemon where it has died."""
        if not job_ids:
            return iter(())
        return follow_jobs(self.home, self._writable(job_ids[0]), job_ids, revive)

    # -- inside -----------------------------------------------------------------------------------

    def _again(self, job_id: int, changes: LimitChanges | None, from_start: bool) -> Job:
        queue = self._writable(job_id)
        job = queue.get(job_id)
        self._check_again(job, from_start)
        self.home.prepare()
        if self.is_worker_dead(job):
            # Recovery would begin at the checkpoint, with the limits it had: where that is not wished, it is to end.
            ends_first = from_start or changes is not None
            if ends_first:
                self.cancel(job_id)
            job = self._recovered(job)
            if not ends_first and not job.has_ended:
                return job
        job = queue.resume(job_id, changes, from_start)
        self._wake()
        return job

    def _recovered(self, job: Job) -> Job:
        """The job once a daemon has found that its worker is dead. Raises UnavailableError where none does."""
        self._wake()
        deadline = time.monotonic() + RECOVERY_SECONDS
        queue = self._existing(job.id)
        while (now := queue.get(job.id)).run_id == job.run_id:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"job {job.id} was not recovered within {RECOVERY_SECONDS:.0f} s", f"See {self.home.daemon_log}."
                )
            time.sleep(POLL_SECONDS)
        return now

    def _check_again(self, job: Job, from_start: bool) -> None:
        """Check what the phases that are still to run will need. Raises as :meth:`plan` does."""
        from kbjobs.chains.planning import check_phases

        phases = job.phases if from_start else [phase for phase in job.phases if not phase.is_completed]
        check_phases(self.home, self.settings, phases, job.source, self._require_secrets)

    def _has_ended(self, job_id: int) -> bool:
        try:
            return self.get_status(job_id).has_ended
        except NotFoundError:  # it was forgotten, or none wrote it
            return True

    def _require_secrets(self, kind: JobType, plan: Plan) -> None:
        """Refuse a job whose worker would not have a key, even where this process has it."""
        needed = kind.secrets if plan.secrets is None else plan.secrets
        if not needed:
            return
        daemon = self.get_daemon()
        visible = set(stored_secrets(self.home))
        visible.update(daemon.secrets if daemon.running else names_in_environment())
        for name in needed:
            if name not in visible:
                here = " This shell has it, but the daemon was started without it." if os.environ.get(name) else ""
                raise MissingRequirementError(
                    f"{kind.command} needs {name}, and its worker would not have it.{here}",
                    f"Hand it over with kbjobs config set-secret {name}"
                    + (", or kbjobs daemon restart from this shell." if here else "."),
                )

    def _opened(self) -> Queue:
        """The state, to be written."""
        if self._queue is None or isinstance(self._queue, Snapshot):
            self.close()
            self._queue = Queue(self.home.state_file)
        return self._queue

    def _readable(self) -> Queue | None:
        if self._queue is None:
            self._queue = open_to_read(self.home.state_file)
        return self._queue

    def _existing(self, job_id: int) -> Queue:
        queue = self._readable()
        if queue is None:
            raise NotFoundError(f"there is no job {job_id}", "Nothing was ever submitted in this home.")
        return queue

    def _writable(self, job_id: int) -> Queue:
        return self._opened() if self.home.state_file.exists() else self._existing(job_id)

    def _wake(self) -> None:
        if not ensure_daemon(self.home):
            nudge(self.home.wake_pipe)


def get_job_manager() -> JobManager:
    """The jobs of the home that the environment names."""
    return JobManager()
