"""Forecast what each phase of a chain will do on a source, before anything is queued. Nothing is written."""

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
"""Returns the latest completed phase of each of the job types."""


@dataclass(frozen=True, slots=True)
class NamedForecast:
    """A phase with its share of the chain in percent, its forecast, and its expected seconds."""

    name: str
    job: str
    weight: float
    work: PhaseForecast
    seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """The phase as ``--dry-run --json`` prints it; null means unknown."""
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
    """The forecast of a chain on a source. ``refusal``: why a submit would refuse it now; None if it would not."""

    chain: str
    source: str | None
    phases: tuple[NamedForecast, ...]
    notes: tuple[str, ...] = ()
    refusal: KbjobsError | None = None

    @property
    def price_usd(self) -> float | None:
        """The price of all phases whose price is known; None if there is none."""
        prices = [phase.work.price_usd for phase in self.phases if phase.work.price_usd is not None]
        return sum(prices) if prices else None

    @property
    def seconds(self) -> float | None:
        """The time of all phases whose time is known; None if there is none."""
        known = [phase.seconds for phase in self.phases if phase.seconds is not None]
        return sum(known) if known else None

    @property
    def untimed(self) -> tuple[str, ...]:
        """The names of the phases whose time is unknown."""
        return tuple(phase.name for phase in self.phases if phase.seconds is None)

    def as_dict(self) -> dict[str, Any]:
        """The forecast as ``--dry-run --json`` prints it."""
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
    """Forecast what each phase will do.

    Args:
        home: the home.
        settings: the settings in force.
        chain: the chain.
        states: its phases as a submit would queue them, with every default filled in.
        source_id: the source; if the first phase creates it, it need not exist.
        last_runs: finds how long phases took when they last ran.

    Raises:
        KbjobsError: the source cannot be read; the job would fail with the same error.
    """
    folder = None if source_id is None else SourceFolder(home.sources, source_id)
    is_there = folder is None or folder.manifest.exists()
    past = last_runs({phase.job_type.name for phase in chain.phases})
    found: list[NamedForecast] = []
    earlier: list[tuple[str, Params]] = []
    brings = ""  # the earlier phase that changes the set of documents
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
    """A phase's seconds: its own forecast, or else by the rate of its last run, or else the time that run took."""
    if work.seconds is not None:
        return work.seconds
    if last is None:
        return None
    if work.steps is not None and last.rate and last.unit == work.unit:
        return work.steps / last.rate
    # Also if nothing is left to do and the last run was too short to have a rate.
    return last.seconds if not work.steps and work.is_exact else None
