"""Combined jobs of Python functions, run in the caller's process by the same runner as in the daemon's workers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kbjobs.chains.progress import Progress
from kbjobs.chains.runner import Phase, run_chain
from kbjobs.config.home import current_home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import JobCancelled, UsageError
from kbjobs.formatting import counted
from kbjobs.phases.job_type import NO_SOURCE, JobType, Params
from kbjobs.phases.python_function import FunctionCall
from kbjobs.store.checkpoints import Checkpoint
from kbjobs.store.jobs import Report
from kbjobs.store.phase_state import PhaseState, fingerprint, reopened
from kbjobs.store.queue import Queue
from kbjobs.store.snapshot import open_to_read

__all__ = [
    "Checkpoint",
    "JobPhase",
    "cleanup_stale_checkpoints",
    "delete_checkpoint",
    "get_interrupted_jobs",
    "load_checkpoint",
    "run_combined_job",
    "save_checkpoint",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobPhase:
    """One phase: a function, its share of the whole, and its arguments.

    In addition to ``args`` and ``kwargs``, the function gets ``progress_callback(current, total, message)`` and
    ``cancel_checker()`` if it accepts them.
    """

    name: str
    func: Callable[..., Any]
    weight: float = 50
    args: Sequence[Any] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


def run_combined_job(
    phases: Sequence[JobPhase],
    progress_callback: Callable[[int, int, str], Any] | None,
    cancel_checker: Callable[[], bool] | None,
    source_id: str | None = None,
    job_type: str | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Run functions one after the other in this process, with weighted progress.

    Args:
        phases: at least one phase.
        progress_callback: called with ``(percent, 100, message)``.
        cancel_checker: returns whether to stop; called before each phase and whenever a function asks.
        source_id: the source under which a checkpoint is kept; None if the job is not about a source.
        job_type: the type under which a checkpoint is kept until the job succeeds; None keeps no checkpoint.
        resume: whether to skip the phases that the checkpoint records as completed.

    Returns:
        ``success``, ``status`` ("success", "cancelled", or None for a failure), ``phases_completed`` and
        ``phases_skipped`` (counts), ``phase_results`` (``[{"phase", "index", "result"}]``), ``message``, ``resumed``;
        on failure also ``current_phase`` (its index), ``phase_name``, ``error``.

    Raises:
        UsageError: there is no phase, a weight is not a number of 0 or more, or the phases differ from those of the
            checkpoint.
    """
    _check(phases)
    entries = [_entry(phase) for phase in phases]
    found = load_checkpoint(source_id, job_type) if resume and job_type is not None else None
    if found is not None:
        entries = _take_up(entries, found)
    caller = _Caller(progress_callback, cancel_checker)
    progress = Progress(entries, caller.report, lambda steps: None)

    def keep() -> None:
        if job_type is not None:
            save_checkpoint(Checkpoint(source_id, job_type, progress.snapshot()))
        progress.report_phases()

    outcome = _run_phases(phases, progress, caller, keep, is_resumed=found is not None)
    if outcome["success"]:
        if job_type is not None:
            delete_checkpoint(source_id, job_type)
        progress.report_phases()
    else:
        keep()
    reached = Checkpoint(source_id, job_type or "", progress.snapshot())
    return {
        **outcome,
        "phases_completed": reached.phases_completed,
        "phase_results": reached.phase_results,
        "resumed": found is not None,
        "phases_skipped": sum(entry.is_completed for entry in entries),
    }


def _run_phases(
    phases: Sequence[JobPhase], progress: Progress, caller: _Caller, keep: Callable[[], None], is_resumed: bool
) -> dict[str, Any]:
    """Run the phases, and ``keep`` the state first and after each; returns the outcome, even of an error."""
    home = current_home()

    def make_context(index: int, phase: Phase) -> Context:
        if caller.is_stopping():
            raise JobCancelled("stopped between two phases")
        return Context(home, Settings(home), None, 0, progress, caller.is_stopping, log)

    runs = [Phase(_function_type(phase), Params()) for phase in phases]
    try:
        if not is_resumed:
            keep()
        run_chain(runs, progress, make_context, keep, lambda index, error: False, log)
    except JobCancelled:
        return {"success": False, "status": "cancelled", "message": "cancelled"}
    except (Exception, SystemExit) as error:  # noqa: BLE001 — the result reports any error of a function
        return {"success": False, "status": None, **_describe_failure(progress, error)}
    return {"success": True, "status": "success", "message": f"{counted(len(phases), 'phase')} done"}


class _Caller:
    """The caller of a combined job, as its two callbacks: one takes progress, the other tells whether to stop."""

    def __init__(
        self, progress_callback: Callable[[int, int, str], Any] | None, cancel_checker: Callable[[], bool] | None
    ) -> None:
        self._progress_callback, self._cancel_checker = progress_callback, cancel_checker
        self._wants_stop = False

    def report(self, report: Report) -> None:
        """Pass the job's progress to the caller."""
        if self._progress_callback is not None:
            name = report.phase.name if report.phase else ""
            self._progress_callback(int(report.progress), 100, report.message or name)

    def is_stopping(self) -> bool:
        """Whether to stop; once true, it stays true."""
        self._wants_stop = self._wants_stop or (self._cancel_checker is not None and bool(self._cancel_checker()))
        return self._wants_stop


def _check(phases: Sequence[JobPhase]) -> None:
    if not phases:
        raise UsageError("a combined job needs a phase", "Pass at least one JobPhase.")
    for phase in phases:
        if not isinstance(phase.weight, int | float) or not 0 <= phase.weight < float("inf"):
            raise UsageError(f"phase {phase.name}: its weight is {phase.weight}", "Give a number of 0 or more.")


def _take_up(entries: Sequence[PhaseState], found: Checkpoint) -> list[PhaseState]:
    """The phases, with those that the checkpoint records as completed marked as skipped."""
    if found.fingerprint != fingerprint(entries):
        raise UsageError(
            f"the phases of {found.job_type} differ from those of its checkpoint, which were"
            f" {', '.join(one.name for one in found.phases)}",
            "Call it without resume=True, or with the phases it had.",
        )
    return [
        replace(saved, is_skipped=True) if saved.is_completed else entry
        for entry, saved in zip(entries, reopened(found.phases, also_passed=True), strict=True)
    ]


def _describe_failure(progress: Progress, error: BaseException) -> dict[str, Any]:
    """Describe which phase failed, and why."""
    index, failed = next((n, entry) for n, entry in enumerate(progress.snapshot()) if not entry.is_completed)
    text = f"{type(error).__name__}: {error}"
    return {
        "message": f"phase {failed.name} failed: {text}",
        "current_phase": index,
        "phase_name": failed.name,
        "error": str(error) or text,
    }


def _entry(phase: JobPhase) -> PhaseState:
    """A phase as stored in a checkpoint; an argument that is not a JSON value is stored as the name of its type."""
    name = f"{getattr(phase.func, '__module__', '')}:{getattr(phase.func, '__qualname__', repr(phase.func))}"
    params = json.loads(
        json.dumps(
            {"function": name, "args": list(phase.args), "kwargs": phase.kwargs},
            default=lambda value: type(value).__qualname__,
        )
    )
    return PhaseState(phase.name, "python_function", params, phase.weight)


def _function_type(phase: JobPhase) -> JobType[Any]:
    def run(context: Context, params: Params) -> PhaseResult:
        return PhaseResult(FunctionCall(context, phase.func).run(phase.args, phase.kwargs), f"{phase.name} is done")

    return JobType(phase.name, phase.name, "", "functions", "call", Params, run, target=NO_SOURCE)


def save_checkpoint(checkpoint: Checkpoint) -> None:
    """Save a checkpoint in place of any earlier one for its source and job type."""
    home = current_home()
    home.prepare()
    with Queue(home.state_file) as queue:
        queue.save_checkpoint(checkpoint)


def load_checkpoint(source_id: str | None, job_type: str) -> Checkpoint | None:
    """Load the checkpoint of a job type on a source; None if there is none."""
    queue = open_to_read(current_home().state_file)
    if queue is None:
        return None
    with queue:
        return queue.load_checkpoint(source_id, job_type)


def delete_checkpoint(source_id: str | None, job_type: str) -> bool:
    """Delete a checkpoint; returns whether there was one."""
    path = current_home().state_file
    if not path.exists():
        return False
    with Queue(path) as queue:
        return queue.delete_checkpoint(source_id, job_type)


def get_interrupted_jobs() -> list[Checkpoint]:
    """The checkpoints from which a job can resume, latest first, without those of pending or running jobs."""
    queue = open_to_read(current_home().state_file)
    if queue is None:
        return []
    with queue:
        return queue.load_resumable_checkpoints()


def cleanup_stale_checkpoints(max_age_days: float = 7) -> int:
    """Delete checkpoints of ended jobs that are older than ``max_age_days`` days; returns how many."""
    path = current_home().state_file
    if not path.exists():
        return 0
    with Queue(path) as queue:
        return len(queue.delete_stale_checkpoints(max_age_days))
