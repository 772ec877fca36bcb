"""The front door: commands and Python callers submit, ask and cancel through it and through nothing else."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kbjobs.config.secrets import names_in_environment, stored_secrets
from kbjobs.errors import (
    ConflictError,
    KbjobsError,
    MissingRequirementError,
    NotFoundError,
    UnavailableError,
    UsageError,
)
from kbjobs.services.job_actions import JobController
from kbjobs.services.job_events import POLL_SECONDS, JobEvent, follow_jobs
from kbjobs.store import history
from kbjobs.store.checkpoints import Checkpoint
from kbjobs.store.connection import is_disk_full
from kbjobs.store.jobs import Job, LimitChanges, Limits
from kbjobs.store.queue import DuplicateJobError
from kbjobs.store.sources import SourceFolder, check_source_id
from kbjobs.system.crashpoints import crash_point

if TYPE_CHECKING:
    from kbjobs.chains.chain import Chain
    from kbjobs.chains.diagnostics import Diagnostic
    from kbjobs.chains.forecast import Forecast
    from kbjobs.chains.planning import Planned
    from kbjobs.phases.base import JobType, Plan
    from kbjobs.store.jobs import NewJob
    from kbjobs.store.phase_state import PhaseState

RECOVERY_SECONDS = 30.0  # for a daemon to find that a worker is dead

OnError = Callable[[int, KbjobsError], None]
"""Called with the id of a job, one of several, to which something cannot be done, and why."""

OnNote = Callable[[str], None]
"""Called with what a person should know before jobs go on."""


def _ignore(note: str) -> None:
    """Told nobody."""


class JobManager(JobController):
    """Jobs of one home. Opening it writes nothing; a submit creates what is missing."""

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
        from kbjobs.chains.file.chain_lookup import find_chain

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
        from kbjobs.chains.planning import Terms, plan_job

        if source_id is not None:
            check_source_id(source_id)
        checkpoint = self.get_checkpoint(chain.name, source_id)
        if checkpoint is not None and not resume and not self._has_ended(checkpoint.job_id):
            checkpoint = None  # of a job that is at work: it is not left aside
        terms = Terms(priority, limits or Limits(), resume)
        planned = plan_job(self.home, self.settings, chain, source_id, checkpoint, terms, self._require_secrets)
        if (queue := self._readable()) is not None:
            queue.refuse_beside_end(planned.job)  # and again with the row itself: others submit meanwhile
        return planned

    def check_chain(self, chain: Chain, source_id: str | None = None) -> list[Diagnostic]:
        """What a submit of the chain would refuse, and advice; without a source, what holds for any.

        Nothing is queued. Raises NotFoundError where the source is not there.
        """
        from kbjobs.chains.advice import check_needs, check_on_source

        if source_id is None:
            return check_needs(self.home, self.settings, chain, self._require_secrets)
        folder = SourceFolder(self.home.sources, check_source_id(source_id))
        if chain.phases[0].job_type.makes_source and not folder.manifest.exists():
            return check_needs(self.home, self.settings, chain, self._require_secrets)
        folder.read()
        return check_on_source(self.home, self.settings, chain, source_id, self.plan)

    def forecast(self, chain: Chain, source_id: str | None = None) -> Forecast:
        """What a chain is expected to do on a source: documents, passages, tokens, price and time of each phase.

        It takes seconds: what is new is judged by a sample. Nothing is queued or written. What a submit would refuse
        for want of a credential is told with it. Raises as :meth:`plan` does otherwise.
        """
        from kbjobs.chains.forecast import Forecast, forecast
        from kbjobs.chains.planning import plan_job

        refusal: KbjobsError | None = None
        try:
            planned = self.plan(chain, source_id)
        except MissingRequirementError as error:
            # Only a key may be missing: that of the model or the package would be met again.
            refusal = error
            planned = plan_job(self.home, self.settings, chain, source_id, None)
        queue = self._readable()

        def last_runs(types: Collection[str]) -> dict[str, PhaseState]:
            return {} if queue is None else history.last_runs(queue, types, source_id)

        phases = forecast(self.home, self.settings, chain, planned.job.phases, source_id, last_runs)
        return Forecast(chain.name, source_id, phases, planned.notes, refusal)

    def enqueue(self, planned: Sequence[Planned]) -> list[Job]:
        """Queue planned jobs, all or none, and start the daemon where none runs. Raises DuplicateJobError."""
        self.home.prepare()
        new = [one.job for one in planned]
        self._reach(new)
        try:
            jobs = self._opened().submit_all(new)
        except DuplicateJobError:
            self._wake()  # after a reboot nobody else might: the job that is there already is to go on
            raise
        except UnavailableError as error:
            # What frees the disk must be possible on a full one.
            if not (is_disk_full(error.__cause__) and any(one.ends_source for one in new)):
                raise
            self.home.give_up_reserve()
            jobs = self._opened().submit_all(new)
        crash_point("submit.committed")
        self._wake()
        return jobs

    def resume(self, job_id: int, changes: LimitChanges | None = None) -> Job:
        """Put an ended job back in the queue under its id, to go on from what is saved.

        What its phases will need is checked first, as by a submit. A job whose worker is dead, because daemon and
        worker were killed or the machine went down, goes on by itself once a daemon runs: that is waited for.
        """
        return self.resume_each([job_id], _refuse, changes)[0]

    def resume_each(
        self,
        job_ids: Iterable[int],
        on_error: OnError,
        changes: LimitChanges | None = None,
        on_note: OnNote = _ignore,
    ) -> list[Job]:
        """Resume several jobs; ``on_error`` is told of each that cannot go on, and the others do.

        ``on_note`` is told, before a job goes on, what a person should know of it, as what it will embed again.
        """
        return self._again(job_ids, on_error, on_note, changes, from_start=False)

    def retry(self, job_id: int) -> Job:
        """Put an ended job, or one whose worker is dead, back in the queue under its id, to run from the start."""
        return self.retry_each([job_id], _refuse)[0]

    def retry_each(self, job_ids: Iterable[int], on_error: OnError, on_note: OnNote = _ignore) -> list[Job]:
        """Retry several jobs; ``on_error`` and ``on_note`` as of :meth:`resume_each`."""
        return self._again(job_ids, on_error, on_note, None, from_start=True)

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
                for attempt in range(job.attempt + 1):  # 0: what on_finish said of one that never began
                    self.home.log_file(job.id, attempt).unlink(missing_ok=True)
        return jobs

    def prune_checkpoints(self, days: float, dry_run: bool = False) -> list[Checkpoint]:
        """Forget checkpoints older than ``days`` days, of jobs that have ended; returns them."""
        queue = self._readable()
        if queue is None:
            return []
        return (queue if dry_run else self._opened()).delete_stale_checkpoints(days, dry_run)

    def follow(self, job_ids: Sequence[int], revive: bool, seconds: float = math.inf) -> Iterator[JobEvent]:
        """What happens to the jobs until all have ended. ``revive``: start a daemon where it has died.

        Raises TimeLimitError where they have not ended within ``seconds``.
        """
        if not job_ids:
            return iter(())
        return follow_jobs(self.home, self._writable(job_ids[0]), job_ids, revive, seconds)

    # -- inside -----------------------------------------------------------------------------------

    def _again(
        self,
        job_ids: Iterable[int],
        on_error: OnError,
        on_note: OnNote,
        changes: LimitChanges | None,
        from_start: bool,
    ) -> list[Job]:
        # Recovery would begin at the checkpoint, with the limits it had: where that is not asked for, a job is to end.
        ends_first = from_start or changes is not None
        # All are looked at before the first goes on: the daemon that is woken for it recovers the others too.
        found: list[tuple[Job, bool]] = []
        for job_id in dict.fromkeys(job_ids):
            try:
                job = self._writable(job_id).get(job_id)
                notes = self._check_again(job, from_start)
                (changes or LimitChanges()).applied(job)
                is_dead = self.is_worker_dead(job)
                if is_dead and ends_first:
                    self.cancel(job_id)
                found.append((job, is_dead))
                for note in notes:
                    on_note(note)
            except KbjobsError as error:
                on_error(job_id, error)
        queued = []
        for job, is_dead in found:
            try:
                self.home.prepare()
                if not job.has_ended:  # it is to go on, also where it need not be resumed
                    self._wake()
                now = self._recovered(job) if is_dead else job
                if not is_dead or ends_first or now.has_ended:
                    now = self._opened().resume(job.id, changes, from_start)
                    self._wake()
                queued.append(now)
            except KbjobsError as error:
                on_error(job.id, error)
        return queued

    def _recovered(self, job: Job) -> Job:
        """The job once a daemon has found that its worker is dead. Raises UnavailableError where none does."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        queue = self._existing(job.id)
        while (now := queue.get(job.id)).run_id == job.run_id:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"job {job.id} was not recovered within {RECOVERY_SECONDS:.0f} s", f"See {self.home.daemon_log}."
                )
            time.sleep(POLL_SECONDS)
        return now

    def _check_again(self, job: Job, from_start: bool) -> tuple[str, ...]:
        """Check what the phases that are still to run will need; returns the notes. Raises as :meth:`plan` does."""
        from kbjobs.chains.planning import check_phases

        if job.source_deleted_at is not None and job.source is not None:
            self._refuse_deleted(job, job.source)
        phases = job.phases if from_start else [phase for phase in job.phases if not phase.is_completed]
        return check_phases(self.home, self.settings, phases, job.source, self._require_secrets)

    def _refuse_deleted(self, job: Job, source_id: str) -> None:
        """Raise ConflictError: a source of that id, where there is one, is another one than that of the job."""
        is_there_again = SourceFolder(self.home.sources, source_id).manifest.exists()
        if job.ends_source and not is_there_again:
            return  # what is left of the source is still to go
        raise ConflictError(
            f"job {job.id} was for a source {source_id!r} that was deleted on {job.source_deleted_at}",
            "The source of that id is a new one: submit a new job for it."
            if is_there_again
            else f"Register a new one with kbjobs sources add {source_id} PATH, then submit a new job for it.",
        )

    def _reach(self, jobs: Sequence[NewJob]) -> None:
        """Ask once for each kind of phase whether what it needs elsewhere is there. Raises what that raises."""
        from kbjobs.phases.registry import job_type

        asked = set()
        for phase in (phase for job in jobs for phase in job.phases):
            kind = job_type(phase.job)
            params = kind.params.model_validate(phase.params)
            if (kind.name, repr(params)) not in asked:
                asked.add((kind.name, repr(params)))
                kind.reach(self.home, self.settings, params)

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


def _refuse(job_id: int, error: KbjobsError) -> None:
    raise error


def get_job_manager() -> JobManager:
    """The jobs of the home that the environment names."""
    return JobManager()
