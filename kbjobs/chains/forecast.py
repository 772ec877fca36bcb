"""What a chain is expected to do on a source, phase by phase, before anything is queued. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kbjobs.chains.chain import Chain, ChainPhase
from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import KbjobsError
from kbjobs.phases.job_type import Params, PhaseForecast, PhaseRequest
from kbjobs.store.phase_state import PhaseState
from kbjobs.store.sources import SourceFolder

LastRuns = Callable[[Collection[str]], Mapping[str, PhaseState]]
"""Gives the latest completed phase of each of the job types."""


@dataclass(frozen=True, slots=True)
class NamedForecast:
    """A phase with its share of the chain in percent, what it is expected to do, and the seconds it may take."""

    name: str
    job: str
    weight: float
    work: PhaseForecast
    seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """The phase as the JSON that ``--dry-run --json`` prints; null is what is not known."""
        one = self.work
        return {
            "name": self.name,
            "job": self.job,
            "weight": self.weight,
            "documents": one.documents,
            "passages": one.passages,
            "new": one.new,
            "tokens": one.tokens,
            "price_usd": one.price_usd,
            "minutes": None if self.seconds is None else round(self.seconds / 60, 1),
            "exact": one.is_exact,
            "note": one.note,
        }


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a chain would do on a source. ``refusal``: why a submit would not queue it now, None where it would."""

    chain: str
    source: str | None
    phases: tuple[NamedForecast, ...]
    notes: tuple[str, ...] = ()
    refusal: KbjobsError | None = None

    @property
    def price_usd(self) -> float | None:
        """Of all phases whose price is known; None where there is none."""
        prices = [phase.work.price_usd for phase in self.phases if phase.work.price_usd is not None]
        return sum(prices) if prices else None

    @property
    def seconds(self) -> float | None:
        """Of all phases whose time is known; None where there is none."""
        known = [phase.seconds for phase in self.phases if phase.seconds is not None]
        return sum(known) if known else None

    @property
    def untimed(self) -> tuple[str, ...]:
        """The phases whose time is not known."""
        return tuple(phase.name for phase in self.phases if phase.seconds is None)

    def as_dict(self) -> dict[str, Any]:
        """The forecast as the JSON that ``--dry-run --json`` prints."""
        refusal = self.refusal
        return {
            "chain": self.chain,
            "source": self.source,
            "phases": [phase.as_dict() for phase in self.phases],
            "price_usd": self.price_usd,
            "minutes": None if self.seconds is None else round(self.seconds / 60, 1),
            "untimed": list(self.untimed),
            "notes": list(self.notes),
            "refused": refusal
            and {"message": refusal.message, "hint": refusal.hint, "exit_code": int(refusal.exit_code)},
        }


def forecast(
    home: Home,
    settings: Settings,
    chain: Chain,
    states: Sequence[PhaseState],
    source_id: str | None,
    last_runs: LastRuns,
) -> tuple[NamedForecast, ...]:
    """What each phase is expected to do.

    Args:
        home: the home.
        settings: the settings in force.
        chain: the chain.
        states: its phases as a submit would queue them, with every default filled in.
        source_id: the source; one that the first phase makes need not be there.
        last_runs: what phases took when they last ran.

    Raises:
        KbjobsError: the source cannot be read, as the job would say.
    """
    folder = None if source_id is None else SourceFolder(home.sources, source_id)
    is_there = folder is None or folder.manifest.exists()
    past = last_runs({phase.job_type.name for phase in chain.phases})
    found: list[NamedForecast] = []
    earlier: list[tuple[str, Params]] = []
    brings = ""  # the phase before that changes which documents there are
    for phase, state in zip(chain.phases, states, strict=True):
        kind, params = phase.job_type, phase.job_type.params.model_validate(state.params)
        if is_there or kind.target.makes_source:
            work = kind.forecast(PhaseRequest(home, settings, params, folder, tuple(earlier)))
            if brings and work.documents is not None:
                work = replace(work, is_exact=False, note=f"of what is there now, before {brings}")
        else:
            work = PhaseForecast(is_exact=False, note=f"depends on what {brings} brings")
        if kind.target.makes_source:
            brings = phase.name
        seconds = _seconds(phase, work, past.get(kind.name))
        found.append(NamedForecast(state.name, state.job, state.weight, work, seconds))
        earlier.append((kind.name, params))
    return tuple(found)


def _seconds(phase: ChainPhase, work: PhaseForecast, last: PhaseState | None) -> float | None:
    """The time of a phase: as it says itself, else at the pace of its last run, else what that took."""
    if work.seconds is not None:
        return work.seconds
    if last is None:
        return None
    if work.steps is not None and last.rate and last.unit == work.unit:
        return work.steps / last.rate
    # Also where nothing is left to do, and the last run was too short to have a rate.
    return last.seconds if not work.steps and work.is_exact else None
