"""Runs a chain of phases with weighted progress. A single job is a chain of one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from kbjobs.errors import JobCancelled
from kbjobs.phases.base import Context, JobType, Params, PhaseResult

ALMOST = 99.9  # the most that is told before the last phase has ended
MEASURED_SECONDS = 0.1  # of work, before a rate or the time left is told from it


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a chain: a job type, its checked parameters and its share of the whole."""

    name: str
    job_type: JobType
    params: Params
    weight: float


@dataclass(frozen=True, slots=True)
class Report:
    """Progress of a whole chain: percentage, the running phase, all phases, a message.

    ``eta`` is the seconds left of what the running phase counts now, None where it cannot be told.
    """

    progress: float
    phase: dict[str, Any] | None
    phases: list[dict[str, Any]]
    message: str
    eta: float | None


class Progress:
    """Turns the reports of phases into the progress of the chain.

    It never goes back, and is 100 only when the last phase is done. Weights need not sum to 100.
    """

    def __init__(
        self,
        phases: Sequence[Phase],
        listener: Callable[[Report], None],
        saved: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        total = sum(phase.weight for phase in phases)
        # Weights of nothing but zero share alike.
        self._shares = [100.0 * (phase.weight / total if total > 0 else 1 / len(phases)) for phase in phases]
        self._starts = list(accumulate(self._shares, initial=0.0))
        self._phases: list[dict[str, Any]] = [
            {
                "name": phase.name,
                "job": phase.job_type.name,
                "params": phase.params.model_dump(),
                "weight": round(share, 1),
                "status": "pending",
                "result": None,
            }
            for phase, share in zip(phases, self._shares, strict=True)
        ]
        self._listener = listener
        self._saved = saved
        self._clock = clock
        self._index = 0
        self._progress = 0.0
        self._span: tuple[float, float] | None = None
        self._span_start = 0.0
        self._span_first = 0

    def snapshot(self) -> list[dict[str, Any]]:
        """All phases with their status and result."""
        return [dict(phase) for phase in self._phases]

    def start(self, index: int) -> None:
        """A phase begins."""
        self._index = index
        self._span = None
        self._phases[index]["status"] = "running"
        self._tell(
            {"index": index, "name": self._phases[index]["name"], "current": 0, "total": 0, "unit": "", "rate": None},
            "",
            None,
        )

    def end(self, index: int, status: str, result: dict[str, Any] | None) -> None:
        """A phase has ended."""
        self._phases[index].update(status=status, result=result)
        if status == "completed":
            self._advance(self._starts[index + 1])
            if index == len(self._phases) - 1:
                self._progress = 100.0
        self._tell(None, "", None)

    def saved(self, steps: int) -> None:
        """Pass on that more steps are safe on disk."""
        self._saved(steps)

    def report(
        self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta_matters: bool
    ) -> None:
        """A phase has done ``current`` of ``total`` units of the part ``span`` of itself."""
        now = self._clock()
        if span != self._span or current < self._span_first:
            self._span, self._span_start, self._span_first = span, now, current
        fraction = min(1.0, max(0.0, current / total)) if total > 0 else 0.0
        inside = min(1.0, max(0.0, span[0] + (span[1] - span[0]) * fraction))
        self._advance(self._starts[self._index] + self._shares[self._index] * inside)
        done, elapsed = current - self._span_first, now - self._span_start
        is_measured = done > 0 and elapsed >= MEASURED_SECONDS
        eta = elapsed / done * max(0, total - current) if eta_matters and is_measured else None
        phase = {
            "index": self._index,
            "name": self._phases[self._index]["name"],
            "current": current,
            "total": total,
            "unit": unit,
            "rate": round(done / elapsed, 1) if is_measured else None,
        }
        self._tell(phase, message, eta)

    def _advance(self, reached: float) -> None:
        self._progress = max(self._progress, min(reached, ALMOST))

    def _tell(self, phase: dict[str, Any] | None, message: str, eta: float | None) -> None:
        self._listener(Report(self._progress, phase, self.snapshot(), message, eta))


def run_chain(
    phases: Sequence[Phase], progress: Progress, make_context: Callable[[Phase], Context], log: logging.Logger
) -> list[PhaseResult]:
    """Run the phases in order; an error or a stop in one ends the chain and is raised."""
    results = []
    for index, phase in enumerate(phases):
        log.info("phase %s begins", phase.name)
        progress.start(index)
        try:
            result = phase.job_type.run(make_context(phase), phase.params)
        except BaseException as error:
            progress.end(index, "cancelled" if isinstance(error, JobCancelled) else "failed", None)
            raise
        progress.end(index, "completed", result.counts)
        log.info("phase %s has ended: %s", phase.name, result.summary)
        results.append(result)
    return results
