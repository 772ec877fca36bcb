"""Runs a chain of phases in order. A single job is a chain of one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kbjobs.chains.progress import ENDED, Progress
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import JobCancelled, KbjobsError, TransientError
from kbjobs.phases.base import JobType, Params
from kbjobs.store.jobs import plain

RESULT_LIMIT = 64 * 1024  # characters of JSON: it is written with every report of progress
OnError = Literal["stop", "continue"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a chain that is to run: a job type, its checked parameters, and what to do when it fails."""

    job_type: JobType
    params: Params
    on_error: OnError = "stop"


@dataclass(frozen=True, slots=True)
class ChainResult:
    """How a chain ended that ran to its end.

    ``failed``: documents that could not be processed, in the phase that had most; ``broken``: names of phases that
    failed and let the chain go on.
    """

    summary: str
    failed: int
    broken: tuple[str, ...]
    phases: list[dict[str, Any]]

    @property
    def counts(self) -> dict[str, Any]:
        """What the job's result says: of a single job its own counts, of a chain what became of its phases."""
        if len(self.phases) == 1:
            return dict(self.phases[0]["result"] or {})
        return {
            "phases": len(self.phases),
            "completed": sum(phase["status"] == "completed" for phase in self.phases),
            "skipped": sum(bool(phase.get("skipped")) for phase in self.phases),
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
    can_retry: Callable[[int], bool],
    log: logging.Logger,
) -> ChainResult:
    """Run the phases that have not ended yet, in order.

    An error or a stop in one ends the chain and is raised, unless the phase says to go on and, where the error
    passes, ``can_retry`` says that the phase is not to be tried again. ``on_end`` is called when a phase other
    than the last has ended, to put that on record before the next begins.
    """
    for index, phase in enumerate(phases):
        entry = progress.snapshot()[index]
        if entry["status"] in ENDED:
            log.info("phase %s is done already", entry["name"])
            continue
        log.info("phase %s begins", entry["name"])
        progress.start(index)
        context: Context | None = None
        try:
            context = make_context(index, phase)
            outcome = _outcome(phase.job_type.run(context, phase.params))
        except (Exception, SystemExit) as error:
            if isinstance(error, JobCancelled) and (context is None or context.is_stopping()):
                progress.end(index, "cancelled", {"result": None})
                raise
            if isinstance(error, TransientError) and can_retry(index):
                raise
            progress.end(index, "failed", {"result": None, "error": _first_line(error)})
            if phase.on_error == "stop":
                if isinstance(error, JobCancelled):  # of its own accord: nobody wished it to stop
                    raise KbjobsError(f"phase {entry['name']} gave up: {error.message}", error.hint) from error
                raise
            log.exception("phase %s failed; the chain goes on", entry["name"])
        else:
            log.info("phase %s has ended: %s", entry["name"], outcome["summary"])
            progress.end(index, "completed", outcome)
        if index < len(phases) - 1:
            on_end()
    return summarise(progress.snapshot())


def _outcome(result: PhaseResult) -> dict[str, Any]:
    """What a phase's result leaves in the state. Raises KbjobsError for one that cannot stand there."""
    if not isinstance(result, PhaseResult):
        raise KbjobsError(f"the phase returned {type(result).__name__}, not a PhaseResult", "Mend the job type.")
    try:
        counts = json.dumps(result.counts, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise KbjobsError(f"the phase's result is not JSON: {error}", "Mend the job type.") from None
    if len(counts) > RESULT_LIMIT:
        raise KbjobsError(
            f"the phase's result takes {len(counts):,} characters, and {RESULT_LIMIT:,} are the most",
            "Keep it in a file, and return where that is.",
        )
    outcome: dict[str, Any] = {"result": result.counts, "summary": plain(str(result.summary))}
    if result.failed:
        outcome["failed"] = int(result.failed)
    return outcome


def _first_line(error: BaseException) -> str:
    try:
        text = error.message if isinstance(error, KbjobsError) else f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 — an exception that cannot even tell itself
        text = type(error).__name__
    return plain((text.strip().splitlines() or [type(error).__name__])[0][:500])


def summarise(phases: Sequence[dict[str, Any]]) -> ChainResult:
    """The result of a chain from its ended phases."""
    broken = tuple(phase["name"] for phase in phases if phase["status"] == "failed")
    # The same document may fail in each phase.
    failed = max((phase.get("failed", 0) for phase in phases), default=0)
    if len(phases) == 1:
        return ChainResult(phases[0].get("summary", ""), failed, broken, list(phases))
    skipped = sum(bool(phase.get("skipped")) for phase in phases)
    done = sum(phase["status"] == "completed" for phase in phases)
    text = f"{done} of {len(phases)} phases done"
    text += f", {skipped} of them before" if skipped else ""
    text += f"; {', '.join(broken)} failed (see the log)" if broken else ""
    text += f"; {failed} documents could not be processed (see the log)" if failed else ""
    return ChainResult(text, failed, broken, list(phases))
