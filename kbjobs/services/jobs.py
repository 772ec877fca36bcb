"""The jobs of a home: the interface through which commands, pages and Python callers query and change them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbjobs.config.home import Home, current_home
from kbjobs.config.settings import Settings
from kbjobs.daemon.launching import is_running
from kbjobs.daemon.wake_pipe import nudge
from kbjobs.embedding.dimensions import DIMENSIONS
from kbjobs.errors import UsageError
from kbjobs.phases.names import known_names
from kbjobs.services import job_actions, job_plans, job_queries
from kbjobs.services.job_actions import OnError, OnNote
from kbjobs.services.job_events import JobEvent, follow_jobs
from kbjobs.services.job_queries import DaemonState
from kbjobs.services.job_state import JobState
from kbjobs.store import history, pauses
from kbjobs.store.checkpoints import Checkpoint
from kbjobs.store.edits import JobChanges, edit_job
from kbjobs.store.history import JobFilter
from kbjobs.store.jobs import Attempt, Job, LimitChanges, Limits
from kbjobs.store.pauses import Held, Pause
from kbjobs.store.sources import check_source_id
from kbjobs.store.transitions import Status
from kbjobs.system.closing import Closable

if TYPE_CHECKING:
    from kbjobs.chains.chain import Chain
    from kbjobs.chains.diagnostics import Diagnostic
    from kbjobs.chains.forecast import Forecast
    from kbjobs.chains.planning import Planned
    from kbjobs.services.job_overview import JobOverview


class JobManager(Closable):
    """The jobs of one home. Opening it writes nothing; a submit creates missing files. A context that closes it."""

    def __init__(self, home: Home | None = None) -> None:
        self.home = home or current_home()
        self._state = JobState(self.home)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._state.settings

    def close(self) -> None:
        """Close the state."""
        self._state.close()

    def submit(
        self, job_type: str, source_id: str | None, func: Callable[..., Any] | None = None, *args: Any, **kwargs: Any
    ) -> int:
        """Queue a job and return its id; starts a daemon if none is running.

        The job's requirements are checked first.

        Args:
            job_type: a registered type or a chain; with ``func`` any label under which the job is listed.
            source_id: the source's id, None for a job that is not about a source.
            func: a function in a module that a worker can import. It gets ``progress_callback`` and
                ``cancel_checker`` if it accepts them.
            args: positional arguments of ``func``, JSON values.
            kwargs: parameters of the type or the chain, or keyword arguments of ``func``; JSON values.

        Raises:
            UsageError, NotFoundError, ConflictError, MissingRequirementError, UnavailableError: the submit is refused.
        """
        if func is None:
            if args:
                raise UsageError(
                    "parameters must be given by name", f"For example: submit({job_type!r}, 'wiki', force=True)"
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
        """Queue a job of a registered type or a chain, and return it.

        Args:
            name: the name of the type or chain.
            source_id: the source's id, None for a job that is not about a source.
            params: the parameters of the type or chain.
            priority: jobs of higher priority run first.
            limits: when the job may run, for how long, and how often it is retried.
            resume: whether to resume from the checkpoint of an earlier job.

        Raises:
            DuplicateJobError: the same job is pending or running; a ConflictError that names it.
        """
        return self.enqueue([self.plan(self.find_chain(name, params), source_id, priority, limits, resume)])[0]

    def find_chain(self, name: str, params: dict[str, Any]) -> Chain:
        """Find a chain, or make a job type into a chain of one phase. Raises UsageError, NotFoundError."""
        from kbjobs.chains.file.chain_lookup import find_chain

        return find_chain(self.home, name, params)

    def plan(
        self, chain: Chain, source_id: str | None, priority: int = 0, limits: Limits | None = None, resume: bool = False
    ) -> Planned:
        """Check what each phase of a job will need, and fill in the defaults.

        Args:
            chain: the chain to run.
            source_id: the source's id, None for a job that is not about a source.
            priority: jobs of higher priority run first.
            limits: when the job may run, for how long, and how often it is retried.
            resume: whether to resume from the checkpoint of an earlier job.

        Raises:
            UsageError, NotFoundError, ConflictError, MissingRequirementError, UnavailableError: a submit would fail so.
        """
        from kbjobs.chains.planning import Terms

        return job_plans.plan(self._state, chain, source_id, Terms(priority, limits or Limits(), resume))

    def check_chain(self, chain: Chain, source_id: str | None = None) -> list[Diagnostic]:
        """List the errors that a submit would raise, and advice; without a source, only those the same for all sources.

        Raises NotFoundError if the source does not exist.
        """
        return job_plans.check_chain(self._state, chain, source_id)

    def forecast(self, chain: Chain, source_id: str | None = None) -> Forecast:
        """Forecast a chain's work on a source: documents, passages, tokens, price and time of each phase.

        This takes seconds, because new documents are judged from a sample. Nothing is queued or written. A missing
        credential is part of the forecast; other errors are raised as by :meth:`plan`.
        """
        return job_plans.forecast_chain(self._state, chain, source_id)

    def enqueue(self, planned: Sequence[Planned]) -> list[Job]:
        """Queue planned jobs, all or none, and start a daemon if none is running. Raises DuplicateJobError."""
        return job_actions.enqueue(self._state, planned)

    def get_status(self, job_id: int) -> Job:
        """One job; raises NotFoundError."""
        return self._state.existing(job_id).get(job_id)

    def get_active_jobs(self, source_id: str | None = None) -> list[Job]:
        """Running jobs, then pending ones in the order in which they will start."""
        queue = self._state.readable()
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
        """List jobs, newest first.

        Args:
            limit: the largest number of jobs.
            max_age_days: only jobs submitted within the last days, None for all.
            job_type: only jobs of this type; an old name of the type works, too.
            source_id: only jobs of this source.
            status: only jobs with this status.
            text: only jobs whose error or message contains this text, ignoring case.
        """
        queue = self._state.readable()
        if queue is None:
            return []
        types = None if job_type is None else known_names(job_type)
        return history.list_jobs(queue, JobFilter(limit, max_age_days, types, source_id, status, text))

    def get_just_ended_jobs(self, limit: int, days: float = 1) -> list[Job]:
        """Jobs that ended within the last days, latest first."""
        queue = self._state.readable()
        return [] if queue is None else history.just_ended(queue, limit, days)

    def get_failed_jobs(
        self, job_type: str | None = None, source_id: str | None = None, days: float | None = None
    ) -> list[Job]:
        """List failed jobs whose work has not been done since.

        Args:
            job_type: only jobs of this type, None for all.
            source_id: only jobs of this source, None for all.
            days: only jobs that ended within the last days, None for all.
        """
        return job_queries.find_failed(self._state, job_type, source_id, days)

    def get_resumable_jobs(self) -> list[Job]:
        """Jobs that can be resumed: failed, interrupted, or with a dead worker."""
        return job_queries.find_resumable(self._state)

    def get_overview(self) -> JobOverview:
        """Running jobs, waiting jobs with the reason, resumable jobs, and the jobs of the last day."""
        from kbjobs.services.job_overview import describe_jobs

        return describe_jobs(self._state)

    def get_attempts(self, job_id: int) -> list[Attempt]:
        """Every attempt of a job: number, times, outcome, error."""
        return history.list_attempts(self._state.existing(job_id), job_id)

    def get_checkpoint(self, chain: str, source_id: str | None) -> Checkpoint | None:
        """The checkpoint of a chain on a source, None if the chain succeeded or never ran."""
        queue = self._state.readable()
        return None if queue is None else queue.load_checkpoint(source_id, chain)

    def get_pauses(self) -> list[Pause]:
        """The pauses in force; the pause of the whole queue comes first."""
        queue = self._state.readable()
        return [] if queue is None else pauses.list_pauses(queue)

    def get_held_jobs(self) -> dict[int, Pause]:
        """The pending jobs that a pause holds: each job's id with the pause."""
        queue = self._state.readable()
        return {} if queue is None else pauses.held_jobs(queue)

    def get_dimension_status(self) -> dict[int, dict[str, Any]]:
        """For each dimension: ``busy``, and the running job that works on it, its source and operation."""
        return job_queries.describe_dimensions(self.get_active_jobs())

    def is_dimension_busy(self, dimension: int) -> bool:
        """Whether a running job works on vectors of that dimension. Raises UsageError if there is no such dimension."""
        status = self.get_dimension_status()
        if dimension not in status:
            raise UsageError(f"{dimension} is not a dimension", f"Choose one of {', '.join(map(str, DIMENSIONS))}.")
        return bool(status[dimension]["busy"])

    def get_available_dimensions(self) -> list[int]:
        """The dimensions on which no running job works."""
        return [dimension for dimension, status in self.get_dimension_status().items() if not status["busy"]]

    def get_daemon(self) -> DaemonState:
        """Whether the daemon is running, with its pid, version, start and secrets if it is."""
        return job_queries.describe_daemon(self._state)

    def is_daemon_running(self) -> bool:
        """Whether a daemon is running in this home; cheaper than :meth:`get_daemon`."""
        return is_running(self.home)

    def get_version(self) -> tuple[int, ...] | None:
        """A value that changes with every write to the state; as :meth:`JobState.version`."""
        return self._state.version()

    def check_filters(self, job_type: str | None = None, source_id: str | None = None) -> None:
        """Raise NotFoundError if a filter names a type or a source that never existed."""
        if job_type is not None:
            job_queries.check_type(self.home, self._state.readable(), job_type)
        if source_id is not None:
            job_queries.check_source(self.home, self._state.readable(), source_id)

    def log_file(self, job: Job, attempt: int | None = None) -> Path:
        """The log of an attempt, by default the newest. Raises NotFoundError if the attempt has not begun."""
        return job_queries.find_log(self.home, job, attempt)

    def is_worker_dead(self, job: Job) -> bool:
        """Whether a job's status is running although its worker has died."""
        return self._state.is_worker_dead(job)

    def as_dict(self, job: Job) -> dict[str, Any]:
        """The job as JSON, including whether its worker is dead, which its row does not show."""
        return {**job.as_dict(), "worker_is_dead": self.is_worker_dead(job)}

    def follow(self, job_ids: Sequence[int], revive: bool, seconds: float = math.inf) -> Iterator[JobEvent]:
        """Yield the events of jobs until all have ended.

        Args:
            job_ids: the jobs to follow.
            revive: whether to start a daemon if none is running.
            seconds: how long to follow them.

        Raises:
            TimeLimitError: the jobs have not ended within ``seconds``.
        """
        if not job_ids:
            return iter(())
        return follow_jobs(self.home, self._state.writable(job_ids[0]), job_ids, revive, seconds)

    def cancel(self, job_id: int) -> Job:
        """Request the cancel of a job; a pending job ends at once, a running one shortly."""
        return job_actions.cancel(self._state, job_id)

    def discard(self, job_id: int) -> Job:
        """Give up a failed or interrupted job: it counts as cancelled, and its checkpoint is deleted.

        The results of its phases are kept. Raises ConflictError if the job is pending, running or completed.
        """
        job = self._state.writable(job_id).get(job_id)
        if self.is_worker_dead(job):
            return self.cancel(job_id)  # the daemon ends it once it has found the worker dead
        return self._state.opened().discard(job_id)

    def pause(self, source_id: str | None = None, stop_running: bool = False) -> Held:
        """Pause the jobs of a source, or all jobs: no daemon starts one until :meth:`unpause`.

        Running jobs finish; with ``stop_running`` they stop at a checkpoint and go back to the queue. Raises
        NotFoundError for an unknown source.
        """
        if source_id is not None:
            self.check_filters(source_id=check_source_id(source_id))
        return job_actions.pause(self._state, source_id, stop_running)

    def unpause(self, source_id: str | None = None) -> Pause | None:
        """End the pause of a source, or of the whole queue; returns it, None if there was none.

        Ending the queue's pause leaves sources paused that have a pause of their own.
        """
        if source_id is not None:
            self.check_filters(source_id=check_source_id(source_id))
        return job_actions.unpause(self._state, source_id)

    def edit(self, job_id: int, changes: JobChanges) -> Job:
        """Change the priority, times or retries of a pending job, and return it.

        Raises NotFoundError; ConflictError if the job is running or has ended; UsageError if there are no changes, or
        the job would have to stop before it may start.
        """
        if not changes:
            raise UsageError("there is nothing to change", f"For example: kbjobs edit {job_id} --priority 5")
        job = edit_job(self._state.writable(job_id), job_id, changes)
        nudge(self.home.wake_pipe)
        return job

    def resume(self, job_id: int, changes: LimitChanges | None = None) -> Job:
        """Queue an ended job again under its id, to resume from its checkpoint.

        The requirements of its phases are checked first, as by a submit. If a job's worker is dead, because daemon and
        worker were killed or the machine went down, this waits until the next daemon has resumed the job.
        """
        return self.resume_each([job_id], job_actions.refuse, changes)[0]

    def resume_each(
        self,
        job_ids: Iterable[int],
        on_error: OnError,
        changes: LimitChanges | None = None,
        on_note: OnNote = job_actions.ignore,
    ) -> list[Job]:
        """Resume several jobs, and return those that are queued; an error of one job does not stop the others.

        Args:
            job_ids: the jobs.
            on_error: called with the id and the error of each job that cannot be resumed.
            changes: new limits, None to keep the old ones.
            on_note: called with notes for the user, before anything is queued.
        """
        return job_actions.run_again(self._state, job_ids, changes, False, on_error, on_note)

    def retry(self, job_id: int) -> Job:
        """Queue an ended job, or one whose worker is dead, again under its id, to run from the start."""
        return self.retry_each([job_id], job_actions.refuse)[0]

    def retry_each(self, job_ids: Iterable[int], on_error: OnError, on_note: OnNote = job_actions.ignore) -> list[Job]:
        """Queue several jobs to run from the start, and return them; an error of one job does not stop the others.

        Args:
            job_ids: the jobs.
            on_error: called with the id and the error of each job that cannot be queued.
            on_note: called with notes for the user, before anything is queued.
        """
        return job_actions.run_again(self._state, job_ids, None, True, on_error, on_note)

    def prune(self, days: float, dry_run: bool = False) -> list[Job]:
        """Delete jobs that ended more than ``days`` days ago, with their logs; returns them.

        One call deletes at most a few hundred, so that nothing waits long for it; call it again while it returns any.
        """
        return job_actions.prune(self._state, days, dry_run)

    def prune_checkpoints(self, days: float, dry_run: bool = False) -> list[Checkpoint]:
        """Delete checkpoints of ended jobs that are older than ``days`` days; returns them."""
        queue = self._state.readable()
        if queue is None:
            return []
        return (queue if dry_run else self._state.opened()).delete_stale_checkpoints(days, dry_run)


def get_job_manager() -> JobManager:
    """Open the jobs of the home that the environment names."""
    return JobManager()
