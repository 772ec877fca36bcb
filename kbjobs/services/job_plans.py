"""Checking, planning and forecasting a job before it is queued. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from kbjobs.config.secrets import names_in_environment, stored_secrets
from kbjobs.errors import KbjobsError, MissingRequirementError, NotFoundError
from kbjobs.services.job_queries import describe_daemon
from kbjobs.services.job_state import JobState
from kbjobs.store import history
from kbjobs.store.sources import SourceFolder, check_source_id

if TYPE_CHECKING:
    from kbjobs.chains.chain import Chain
    from kbjobs.chains.diagnostics import Diagnostic
    from kbjobs.chains.forecast import Forecast
    from kbjobs.chains.planning import Planned, Require, Terms
    from kbjobs.phases.job_type import JobType, Plan
    from kbjobs.store.phase_state import PhaseState


def plan(state: JobState, chain: Chain, source_id: str | None, terms: Terms) -> Planned:
    """Check what each phase of a job will need, and fill in the defaults.

    Args:
        state: the jobs of a home.
        chain: the chain to run.
        source_id: the source's id, None for a job that is not about a source.
        terms: priority, limits, and whether to resume.

    Raises:
        UsageError, NotFoundError, ConflictError, MissingRequirementError, UnavailableError: the job cannot be queued.
    """
    from kbjobs.chains.planning import Planner

    if source_id is not None:
        check_source_id(source_id)
    queue = state.readable()
    checkpoint = None if queue is None else queue.load_checkpoint(source_id, chain.name)
    if checkpoint is not None and not terms.resume and not _has_ended(state, checkpoint.job_id):
        checkpoint = None  # it belongs to a live job, so this submit does not discard it
    planner = Planner(state.home, state.settings, secrets_check(state))
    planned = planner.plan_job(chain, source_id, checkpoint, terms)
    if queue is not None:
        queue.refuse_beside_end(planned.job)  # checked again when the row is written, since others may submit meanwhile
    return planned


def check_chain(state: JobState, chain: Chain, source_id: str | None) -> list[Diagnostic]:
    """List the errors that a submit of a chain would raise, and advice.

    Args:
        state: the jobs of a home.
        chain: the chain to check.
        source_id: the source's id; None to check only what is the same for every source.

    Raises:
        NotFoundError: the source does not exist.
    """
    from kbjobs.chains.advice import check_needs, check_on_source
    from kbjobs.chains.planning import Terms

    if source_id is None:
        return check_needs(state.home, state.settings, chain, secrets_check(state))
    folder = SourceFolder(state.home.sources, check_source_id(source_id))
    if chain.phases[0].job_type.target.makes_source and not folder.manifest.exists():
        return check_needs(state.home, state.settings, chain, secrets_check(state))
    folder.read()
    return check_on_source(
        state.home, state.settings, chain, source_id, lambda part, name: plan(state, part, name, Terms())
    )


def forecast_chain(state: JobState, chain: Chain, source_id: str | None) -> Forecast:
    """Forecast what each phase of a chain will do on a source; a missing credential is part of the answer.

    Args:
        state: the jobs of a home.
        chain: the chain that would run.
        source_id: the source's id, None for a chain that is not about a source.

    Raises:
        UsageError, NotFoundError, ConflictError, MissingRequirementError, UnavailableError: the chain cannot be queued.
    """
    from kbjobs.chains.forecast import Forecast, forecast
    from kbjobs.chains.planning import Planner, Terms

    refusal: KbjobsError | None = None
    try:
        planned = plan(state, chain, source_id, Terms())
    except MissingRequirementError as error:
        # Only a missing key is tolerated: a missing model or package raises again here.
        refusal = error
        planned = Planner(state.home, state.settings).plan_job(chain, source_id, None)
    queue = state.readable()

    def last_runs(types: Collection[str]) -> dict[str, PhaseState]:
        return {} if queue is None else history.last_runs(queue, types, source_id)

    phases = forecast(state.home, state.settings, chain, planned.job.phases, source_id, last_runs)
    return Forecast(chain.name, source_id, phases, planned.notes, refusal)


def secrets_check(state: JobState) -> Require:
    """Make a check that raises MissingRequirementError if a phase's worker would lack a key.

    A worker has the daemon's environment, not this process's.
    """

    def require(kind: JobType[Any], needs: Plan[Any]) -> None:
        wanted = kind.secrets if needs.secrets is None else needs.secrets
        if not wanted:
            return
        daemon = describe_daemon(state)
        visible = set(stored_secrets(state.home))
        visible.update(daemon.secrets if daemon.running else names_in_environment())
        for name in wanted:
            if name not in visible:
                here = " This shell has it, but the daemon was started without it." if os.environ.get(name) else ""
                raise MissingRequirementError(
                    f"{kind.command} needs {name}, and its worker would not have it.{here}",
                    f"Store it with kbjobs config set-secret {name}"
                    + (", or kbjobs daemon restart from this shell." if here else "."),
                )

    return require


def _has_ended(state: JobState, job_id: int) -> bool:
    try:
        return state.existing(job_id).get(job_id).has_ended
    except NotFoundError:  # the job was pruned, or no job wrote the checkpoint
        return True
