"""Weighted progress of a chain, and its time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from kbjobs.store import clocks
from kbjobs.store.jobs import Report, RunningPhase
from kbjobs.store.phase_state import PhaseState, PhaseStatus

ALMOST = 99.9  # the most that is shown until the last phase has ended
MEASURED_SECONDS = 0.1  # of work, before a rate or a time left is derived from it
KNOWN_SECONDS = 1.0  # that a phase must have taken last time to predict its time
UNTOLD_SECONDS = 10 * 365 * 86400.0  # a time left beyond this only says that the rate was close to zero
MEASURED_SHARE = 0.1  # percent of the chain that must be known before the rest is extrapolated from it


@dataclass(frozen=True, slots=True)
class Past:
    """How long a phase took when it last ran: seconds, and units per second if measured."""

    seconds: float
    rate: float | None = None
    unit: str = ""


def shares_of(weights: Sequence[float]) -> list[float]:
    """Convert weights to percentages; if all weights are zero, the shares are equal."""
    # Divide first: the sum of huge weights overflows a float.
    largest = max(weights, default=0.0)
    if largest > 0:
        scaled = [weight / largest for weight in weights]
        total = sum(scaled)
        return [100.0 * weight / total for weight in scaled]
    return [100.0 / len(weights) for _ in weights]


class Progress:
    """Turns the reports of phases into the progress of the chain.

    Progress never goes back, and reaches 100 only when the last phase is done. Phases that ended before count as done.

    Args:
        phases: the phases as the job holds them.
        listener: called with every report.
        saved: called with the number of further steps that are safe on disk.
        reached: the percentage to begin at.
        pasts: what each phase took when it last ran, by its index.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        phases: Sequence[PhaseState],
        listener: Callable[[Report], None],
        saved: Callable[[int], None],
        reached: float = 0.0,
        pasts: Mapping[int, Past] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shares = shares_of([phase.weight for phase in phases])
        self._starts = list(accumulate(self._shares, initial=0.0))
        self._phases = [
            replace(phase, weight=round(share, 1)) for phase, share in zip(phases, self._shares, strict=True)
        ]
        self._listener = listener
        self._saved = saved
        self._pasts = dict(pasts or {})
        self._clock = clock
        self._index = 0
        self._phase_start = 0.0
        self._progress = 0.0
        self._advance(reached)
        self._span: tuple[float, float] | None = None
        self._span_start = 0.0
        self._span_first = 0
        self._rate: tuple[float, str] | None = None

    def snapshot(self) -> tuple[PhaseState, ...]:
        """Return all phases with their status and result."""
        return tuple(self._phases)

    @property
    def percentage(self) -> float:
        """The percentage of the chain that is done."""
        return self._progress

    def start(self, index: int) -> None:
        """Mark a phase as begun."""
        self._index = index
        self._span = self._rate = None
        self._phase_start = self._clock()
        self._advance(self._starts[index])
        begun = self._phases[index]
        self._phases[index] = replace(
            begun,
            status=PhaseStatus.RUNNING,
            progress=0.0,
            started_at=begun.started_at or clocks.now_text(),
            finished_at=None,
        )
        self._send(self._running(0, 0, "", None), "", self._whole_eta(None))

    def end(self, index: int, ended: PhaseState) -> None:
        """Mark a phase as ended, with the status, result, summary and error of ``ended``, and add the time it took.

        Nothing is reported until the end is on record: see :meth:`report_phases`.
        """
        seconds = round(max(0.0, self._clock() - self._phase_start), 1)
        rate, unit = self._rate if self._rate is not None and ended.has_ended else (None, None)
        self._phases[index] = replace(
            ended,
            progress=None,
            seconds=seconds,
            rate=None if rate is None else round(rate, 2),
            unit=unit,
            started_at=self._phases[index].started_at,
            finished_at=clocks.now_text(),
        )
        if ended.has_ended:
            self._advance(self._starts[index + 1])
            if index == len(self._phases) - 1:
                self._progress = 100.0

    def report_phases(self) -> None:
        """Report the state of all phases, between two of them."""
        if all(phase.has_ended for phase in self._phases):
            self._progress = 100.0
        self._send(None, "", None)

    def saved(self, steps: int) -> None:
        """Report that more steps are safe on disk."""
        self._saved(steps)

    def report(
        self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta_matters: bool
    ) -> None:
        """Take the progress of the running phase, and report the chain's progress.

        Args:
            current: units done.
            total: units of this part of the phase.
            unit: the unit's name in the plural, such as ``documents``.
            message: the current step, for people.
            span: which part of the phase these units make up, as fractions, such as (0.0, 0.5).
            eta_matters: whether the rate of these units says when the phase will end.
        """
        now = self._clock()
        if span != self._span or current < self._span_first:
            self._span, self._span_start, self._span_first = span, now, current
        fraction = min(1.0, max(0.0, current / total)) if total > 0 else 0.0
        inside = min(1.0, max(0.0, span[0] + (span[1] - span[0]) * fraction))
        self._advance(self._starts[self._index] + self._shares[self._index] * inside)
        entry = self._phases[self._index]
        self._phases[self._index] = replace(entry, progress=max(entry.progress or 0.0, round(100.0 * inside, 1)))
        done, elapsed = current - self._span_first, now - self._span_start
        rate = done / elapsed if done > 0 and elapsed >= MEASURED_SECONDS else None
        if rate is not None and eta_matters:
            self._rate = (rate, unit)
        left = self._phase_eta(rate, max(0, total - current), unit, now) if eta_matters else None
        self._send(
            self._running(current, total, unit, None if rate is None else round(rate, 1)),
            message,
            self._whole_eta(left),
        )

    def _running(self, current: int, total: int, unit: str, rate: float | None) -> RunningPhase:
        return RunningPhase(self._index, self._phases[self._index].name, current, total, unit, rate)

    def _phase_eta(self, rate: float | None, left: int, unit: str, now: float) -> float | None:
        """Seconds left of the running phase: by its measured rate, or else by the rate of its last run."""
        past = self._pasts.get(self._index)
        if rate is None and past is not None and past.unit == unit:
            rate = past.rate
        if rate:
            return left / rate
        return self._past_left(now)

    def _past_left(self, now: float) -> float | None:
        """Seconds left of the running phase by the time it took last time; None once it has taken longer.

        A run that took almost no time had nothing to do, so it predicts nothing.
        """
        past = self._pasts.get(self._index)
        if past is not None and past.seconds < KNOWN_SECONDS:
            return None
        elapsed = max(0.0, now - self._phase_start)
        return None if past is None or elapsed > past.seconds else past.seconds - elapsed

    def _whole_eta(self, phase_left: float | None) -> float | None:
        """Seconds left of the chain: the rest of the running phase, and what later phases took last time.

        A phase that never ran is assumed to need as long per weight as the known ones.
        """
        now = self._clock()
        elapsed = max(0.0, now - self._phase_start)
        if phase_left is None:
            phase_left = self._past_left(now)
        if phase_left is None:
            return None
        known_seconds, known_share = elapsed + phase_left, self._shares[self._index]
        for index, entry in enumerate(self._phases):
            if index < self._index and entry.seconds is not None and entry.is_completed:
                known_seconds += entry.seconds
                known_share += self._shares[index]
        left = phase_left
        for index in range(self._index + 1, len(self._phases)):
            if not self._phases[index].has_ended:
                known = self._pasts.get(index)
                if known is None and known_share < MEASURED_SHARE:
                    return None
                left += known.seconds if known is not None else known_seconds * (self._shares[index] / known_share)
        return left

    def _advance(self, reached: float) -> None:
        self._progress = max(self._progress, min(reached, ALMOST))

    def _send(self, phase: RunningPhase | None, message: str, eta: float | None) -> None:
        known_eta = eta if eta is not None and eta < UNTOLD_SECONDS else None
        self._listener(Report(self._progress, phase, self.snapshot(), message, known_eta))
