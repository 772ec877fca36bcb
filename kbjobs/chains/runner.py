"""Runs a chain of phases in order. A single job is a chain of one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from kbjobs.chains.progress import Progress
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import JobCancelled, JobWaits, KbjobsError
from kbjobs.formatting import counted
from kbjobs.phases.job_type import JobType, Params
from kbjobs.store.jobs import plain
from kbjobs.store.phase_state import OnError, PhaseState, PhaseStatus

RESULT_LIMIT = 64 * 1024  # characters of JSON: it is written with every report of progress


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a chain to run: a job type, its checked parameters, and what to do if it fails."""

    job_type: JobType[Any]
    params: Params
    on_error: OnError = "stop"


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The outcome of a chain that ran to its end.

    ``failed``: documents that could not be processed, in the phase with the most; ``broken``: names of phases that
    failed without stopping the chain.
    """

    summary: str
    failed: int
    broken: tuple[str, ...]
    phases: tuple[PhaseState, ...]

    @property
    def counts(self) -> dict[str, Any]:
        """The job's result: the counts of a single job's phase, or for a chain how many of its phases completed."""
        if len(self.phases) == 1:
            return dict(self.phases[0].result or {})
        return {
            "phases": len(self.phases),
            "completed": sum(phase.is_completed for phase in self.phases),
            "skipped": sum(phase.is_skipped for phase in self.phases),
            "failed_phases": list(self.broken),
            "failed": self.failed,
        }

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left out."""
        return not self.failed and not self.broken


def run_chain(
    phases: Sequence[Phase],
    progress: Progress,
    make_context: Callable[[int, Phase], Context],
    on_end: Callable[[], None],
    passes: Callable[[int, BaseException], bool],
    log: logging.Logger,
) -> ChainResult:
    """Run the phases that have not ended yet, in order.

    Args:
        phases: all phases of the chain.
        progress: the chain's progress, which knows the phases that have ended.
        make_context: makes the context of a phase, given its index.
        on_end: called after each phase but the last, to put its end on record before the next begins.
        passes: whether an error leaves the phase with that index open for another try; the error is then raised.
        log: the job's log.

    Returns:
        The outcome, including phases that failed with ``on_error`` set to continue.

    Raises:
        JobCancelled: the job was asked to stop.
        JobWaits: a phase can do nothing for a while.
        KbjobsError: a phase gave up without being asked to stop.
        Exception: the error of a phase that stops the chain, whatever it is.
    """
    for index, phase in enumerate(phases):
        entry = progress.snapshot()[index]
        if entry.has_ended:
            log.info("phase %s is done already", entry.name)
            continue
        log.info("phase %s begins", entry.name)
        progress.start(index)
        ended, error = _run_phase(phase, entry, partial(make_context, index), partial(passes, index))
        if error is None:
            log.info("phase %s has ended: %s", entry.name, ended.summary)
        progress.end(index, ended)
        if error is not None:
            if ended.status is PhaseStatus.CANCELLED or phase.on_error == "stop":
                if isinstance(error, JobCancelled) and ended.status is PhaseStatus.FAILED:  # nobody asked it to stop
                    raise KbjobsError(f"phase {entry.name} gave up: {error.message}", error.hint) from error
                raise error
            log.error("phase %s failed; the chain goes on", entry.name, exc_info=error)
        if index < len(phases) - 1:
            on_end()
    return summarise(progress.snapshot())


def _run_phase(
    phase: Phase,
    entry: PhaseState,
    make_context: Callable[[Phase], Context],
    passes: Callable[[BaseException], bool],
) -> tuple[PhaseState, BaseException | None]:
    """Run a phase; return it as it ended, with its error. Raises an error that leaves it to be tried again."""
    context: Context | None = None
    try:
        context = make_context(phase)
        return _completed(entry, phase.job_type.run(context, phase.params)), None
    except JobWaits:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, JobCancelled) and (context is None or context.is_stopping()):
            return replace(entry, status=PhaseStatus.CANCELLED), error
        if passes(error):
            raise
        return replace(entry, status=PhaseStatus.FAILED, error=_first_line(error)), error


def _completed(entry: PhaseState, result: PhaseResult) -> PhaseState:
    """Add the result to the phase. Raises KbjobsError if the state cannot store the result."""
    if not isinstance(result, PhaseResult):
        raise KbjobsError(
            f"phase {entry.name} returned {type(result).__name__}, not a PhaseResult", "Correct its job type."
        )
    try:
        counts = json.dumps(result.counts, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise KbjobsError(f"the result of phase {entry.name} is not JSON: {error}", "Correct its job type.") from None
    if len(counts) > RESULT_LIMIT:
        raise KbjobsError(
            f"the result of phase {entry.name} takes {len(counts):,} characters, and {RESULT_LIMIT:,} are the most",
            "Keep it in a file, and return where that is.",
        )
    return replace(
        entry,
        status=PhaseStatus.COMPLETED,
        result=result.counts,
        summary=plain(str(result.summary)),
        failed=int(result.failed),
    )


def _first_line(error: BaseException) -> str:
    try:
        text = error.message if isinstance(error, KbjobsError) else f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 — an exception that cannot even be printed
        text = type(error).__name__
    return plain((text.strip().splitlines() or [type(error).__name__])[0][:500])


def summarise(phases: Sequence[PhaseState]) -> ChainResult:
    """Summarise the ended phases of a chain."""
    broken = tuple(phase.name for phase in phases if phase.status is PhaseStatus.FAILED)
    # The same document may fail in each phase.
    failed = max((phase.failed for phase in phases), default=0)
    if len(phases) == 1:
        return ChainResult(phases[0].summary or "", failed, broken, tuple(phases))
    skipped = sum(phase.is_skipped for phase in phases)
    done = sum(phase.is_completed for phase in phases)
    text = f"{done} of {counted(len(phases), 'phase')} done"
    text += f", {skipped} of them before" if skipped else ""
    text += f"; {', '.join(broken)} failed (see the log)" if broken else ""
    text += f"; {counted(failed, 'document')} could not be processed (see the log)" if failed else ""
    return ChainResult(text, failed, broken, tuple(phases))
