"""Plan a job from a chain and a source: everything its phases need is checked before it is queued."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kbjobs.chains.chain import Chain, ChainPhase
from kbjobs.chains.library import WITHOUT_KEY
from kbjobs.chains.progress import shares_of
from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import KbjobsError, MissingRequirementError, UsageError
from kbjobs.formatting import counted
from kbjobs.phases.job_type import JobType, Params, PhaseRequest, Plan
from kbjobs.phases.registry import job_type
from kbjobs.store.checkpoints import Checkpoint
from kbjobs.store.jobs import Limits, NewJob
from kbjobs.store.phase_state import PhaseState, fingerprint, first_open
from kbjobs.store.sources import SourceFolder

Require = Callable[[JobType[Any], Plan[Any]], None]


@dataclass(frozen=True, slots=True)
class Planned:
    """A job ready to be queued, and notes on it for people."""

    job: NewJob
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a submit: the job's priority, its limits, and whether it resumes from a checkpoint."""

    priority: int = 0
    limits: Limits = field(default_factory=Limits)
    resume: bool = False


DEFAULT_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans jobs in a home.

    ``require`` raises MissingRequirementError if a phase's plan needs a credential that its worker would not have.
    """

    home: Home
    settings: Settings
    require: Require = lambda job_type, plan: None

    def plan_job(
        self, chain: Chain, source_id: str | None, checkpoint: Checkpoint | None, terms: Terms = DEFAULT_TERMS
    ) -> Planned:
        """Check every phase of a chain and fill in its defaults. Nothing is written.

        Args:
            chain: the chain to run.
            source_id: the source to run it on; None for a chain that needs none.
            checkpoint: the one saved for this chain and source, if any.
            terms: priority and limits, and whether to resume from the checkpoint.

        Raises:
            KbjobsError: a phase lacks something it needs; the message names the phase.
            UsageError: the chain cannot be resumed, or was edited since its checkpoint was written.
        """
        entries, notes = self._plan_phases(chain, source_id)
        where = f"{_label(chain)} for {source_id}" if source_id else _label(chain)
        if terms.resume:
            entries = _take_up(chain, entries, checkpoint, notes, where)
        elif checkpoint is not None and chain.resumable:
            notes.append(
                f"Starting {where} from the beginning, although it has a checkpoint ({describe(checkpoint)})."
                " To continue from there, submit it with --resume."
            )
        first = first_open(entries)
        job = NewJob(
            type=chain.name,
            source=source_id,
            params=entries[0].params if chain.is_single else {},
            phases=tuple(entries),
            resources=_resources(chain, source_id, entries),
            priority=terms.priority,
            dimension=entries[first].dimension,
            operation=chain.phases[first].job_type.operation,
            limits=terms.limits,
            resumable=chain.resumable,
            resumed=terms.resume and checkpoint is not None,
            ends_source=any(phase.job_type.target.ends_source for phase in chain.phases),
        )
        return Planned(job, tuple(notes))

    def _plan_phases(self, chain: Chain, source_id: str | None) -> tuple[list[PhaseState], list[str]]:
        """Plan the phases as the queue will hold them, with notes for people."""
        source = _find_source(self.home, chain, source_id)
        entries: list[PhaseState] = []
        notes: list[str] = []
        earlier: list[tuple[str, Params]] = []
        for phase, share in zip(chain.phases, shares_of([phase.weight for phase in chain.phases]), strict=True):
            # Nothing is known yet about a source that an earlier phase creates.
            is_made = bool(entries) and source is not None and not source.manifest.exists()
            request = PhaseRequest(self.home, self.settings, phase.params, source, tuple(earlier), is_made)
            try:
                planned = phase.job_type.plan(request)
                self.require(phase.job_type, planned)
            except KbjobsError as error:
                if len(chain.phases) > 1:
                    _name_phase(error, chain, phase, source_id)
                raise
            earlier.append((phase.job_type.name, planned.params))
            entries.append(_queued(phase, planned, share))
            notes += planned.notes
        return entries, notes

    def check_phases(self, phases: Iterable[PhaseState], source_id: str | None) -> tuple[str, ...]:
        """Check what the phases need to run again, as :meth:`plan_job` does before their first run.

        Returns notes for people. Raises what the plan of a phase raises.
        """
        source = None if source_id is None else SourceFolder(self.home.sources, source_id)
        notes: list[str] = []
        for phase in phases:
            kind = job_type(phase.job)
            try:
                params = kind.params.model_validate(phase.params)
            except ValueError as error:
                raise UsageError(
                    f"phase {phase.name}: {kind.command} has other parameters now: {_first_problem(error)}",
                    "Submit the job again.",
                ) from error
            planned = kind.plan(PhaseRequest(self.home, self.settings, params, source))
            self.require(kind, planned)
            notes += planned.notes
        return tuple(notes)


def _name_phase(error: KbjobsError, chain: Chain, phase: ChainPhase, source_id: str | None) -> None:
    """Name the phase in the error, and in its hint the chain that needs no key, if there is one."""
    error.message = f"phase {phase.name}: {error.message}"
    error.args = (error.message,)
    if isinstance(error, MissingRequirementError) and chain.name in WITHOUT_KEY and phase.job_type.secrets:
        other = WITHOUT_KEY[chain.name].replace("_", "-")
        error.hint = f"{error.hint} Or do without it: kbjobs run {other} {source_id or 'SOURCE'}"


def _resources(chain: Chain, source_id: str | None, entries: Sequence[PhaseState]) -> tuple[str, ...]:
    """The resources of all phases that only one running job may hold at a time."""
    found: dict[str, None] = {}
    for phase, entry in zip(chain.phases, entries, strict=True):
        params = phase.job_type.params.model_validate(entry.params)
        found.update(dict.fromkeys(phase.job_type.resources(source_id, params)))
    return tuple(found)


def _first_problem(error: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def describe(checkpoint: Checkpoint) -> str:
    """Say for people how far a checkpoint has come."""
    done, total = len(checkpoint.completed), len(checkpoint.phases)
    return f"{done} of {counted(total, 'phase')} done, saved {checkpoint.saved_at}"


def _label(chain: Chain) -> str:
    return chain.name.replace("_", "-")


def _find_source(home: Home, chain: Chain, source_id: str | None) -> SourceFolder | None:
    targets = [phase.job_type.target for phase in chain.phases]
    if source_id is None:
        if any(target.needs_source for target in targets):
            raise UsageError(f"{_label(chain)} needs a source", "Name one: --source ID, or source = in the chain file.")
        return None
    source = SourceFolder(home.sources, source_id)
    if any(target.reads_source for target in targets) and (source.manifest.exists() or not targets[0].makes_source):
        source.read()
    return source


def _queued(phase: ChainPhase, plan: Plan[Any], share: float) -> PhaseState:
    """Make the queue's entry of a planned phase; ``share`` is its part of the chain in percent."""
    return PhaseState(
        phase.name,
        phase.job_type.name,
        plan.params.model_dump(),
        round(share, 1),
        dimension=plan.dimension,
        on_error=phase.on_error,
        retries=phase.retries,
        chosen=plan.params.model_dump(exclude_defaults=True),
    )


def _take_up(
    chain: Chain, entries: list[PhaseState], checkpoint: Checkpoint | None, notes: list[str], where: str
) -> list[PhaseState]:
    """Mark the phases that the checkpoint lists as completed."""
    if not chain.resumable:
        raise UsageError(
            f"{_label(chain)} cannot be resumed: it says resumable = false",
            "Run it without --resume; it starts from the beginning. To resume an interrupted job of it: kbjobs"
            " resume JOB.",
        )
    if checkpoint is None:
        notes.append(f"There is no checkpoint of {where}: starting from the beginning.")
        return entries
    before = [_with_chosen(phase) for phase in checkpoint.phases]
    if fingerprint(before) != fingerprint(entries):
        raise UsageError(
            f"{_label(chain)} has changed since the checkpoint of {where} was written: "
            + "; ".join(_differences(before, entries)),
            "Either run it without --resume (from the beginning), or undo the change and resume.",
        )
    notes.append(f"Going on from the checkpoint of {where}: {describe(checkpoint)}.")
    return [
        replace(
            saved,
            name=entry.name,
            params=entry.params,
            chosen=entry.chosen,
            weight=entry.weight,
            dimension=entry.dimension,
            on_error=entry.on_error,
            retries=entry.retries,
            is_skipped=True,
        )
        if saved.is_completed
        else entry
        for entry, saved in zip(entries, checkpoint.phases, strict=True)
    ]


def _with_chosen(phase: PhaseState) -> PhaseState:
    """Add the parameters that differ from their defaults, which older versions did not record."""
    if phase.chosen is not None:
        return phase
    try:
        params = job_type(phase.job).params.model_validate(phase.params)
    except (KbjobsError, ValueError):  # a type that no longer exists, or whose parameters have changed
        return phase
    return replace(phase, chosen=params.model_dump(exclude_defaults=True))


def _differences(before: Sequence[PhaseState], now: Sequence[PhaseState]) -> list[str]:
    """List what an edit has changed, phase by phase."""
    old, new = [phase.job for phase in before], [phase.job for phase in now]
    if old != new:
        return [f"its phases were {', '.join(old)} and are {', '.join(new)}"]
    found = []
    for number, (was, entry) in enumerate(zip(before, now, strict=True), start=1):
        for name in sorted({*was.params, *entry.params}):
            a, b = was.params.get(name), entry.params.get(name)
            if a != b:
                found.append(f"phase {number} ({entry.name}): {name} was {a!r} and is {b!r}")
    return found
