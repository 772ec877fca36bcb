"""The runner: phases in order, errors that end a chain and errors that do not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from kbjobs.chains.progress import Progress
from kbjobs.chains.runner import ChainResult, Phase, run_chain
from kbjobs.context import PhaseResult
from kbjobs.errors import JobCancelled, JobWaits, KbjobsError, TransientError, UsageError
from kbjobs.phases.job_type import JobType, Params
from kbjobs.store.phase_state import OnError, PhaseStatus
from tests.conftest import phase_state

Work = Callable[..., PhaseResult]


def done(*_: Any) -> PhaseResult:
    return PhaseResult({}, "")


def failing(error: BaseException) -> Work:
    def fail(*_: Any) -> PhaseResult:
        raise error

    return fail


def phase(work: Work = done, on_error: OnError = "stop") -> Phase:
    kind = JobType("t", "T", "", "test", "test", Params, work)
    return Phase(kind, Params(), on_error)


class Stub:
    """What the phases of these tests see: which one they are, and whether the job is to stop."""

    def __init__(self, index: int, stopping: bool) -> None:
        self.index = index
        self.is_stopping = lambda: stopping


class Run:
    """One run of a chain; what was put on record after each phase is kept."""

    def __init__(self, *phases: Phase, done_before: int = 0, can_retry: bool = False, stopping: bool = True) -> None:
        before: dict[str, Any] = {
            "status": PhaseStatus.COMPLETED,
            "is_skipped": True,
            "result": {"old": True},
            "failed": 2,
        }
        entries = [phase_state("abcdef"[n], **(before if n < done_before else {})) for n in range(len(phases))]
        self.progress = Progress(entries, lambda report: None, lambda steps: None)
        self.recorded: list[list[str]] = []
        self.error: BaseException | None = None
        self.result: ChainResult | None = None
        try:
            self.result = run_chain(
                phases,
                self.progress,
                lambda index, phase: Stub(index, stopping),  # type: ignore[arg-type,return-value]
                lambda: self.recorded.append(self.statuses),
                lambda index, error: can_retry and isinstance(error, TransientError),
                logging.getLogger("test"),
            )
        except (Exception, SystemExit) as error:
            self.error = error

    @property
    def statuses(self) -> list[str]:
        return [str(one.status) for one in self.progress.snapshot()]


def test_phases_run_in_order_and_each_keeps_its_result() -> None:
    order: list[int] = []

    def work(context: Any, params: Params) -> PhaseResult:
        order.append(context.index)
        return PhaseResult({"seen": len(order)}, f"saw {len(order)}")

    run = Run(phase(work), phase(work))
    assert order == [0, 1]
    assert run.result is not None
    assert [(one.result, one.summary) for one in run.result.phases] == [
        ({"seen": 1}, "saw 1"),
        ({"seen": 2}, "saw 2"),
    ]
    # The end of the last phase is recorded with that of the job, not before.
    assert run.recorded == [["completed", "pending"]]
    assert run.result.summary == "2 of 2 phases done"
    assert run.result.is_whole


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("no"), "failed"), (JobCancelled("stop"), "cancelled")])
def test_an_error_ends_the_chain_where_it_stands(error: Exception, status: str) -> None:
    run = Run(phase(), phase(failing(error)), phase())
    assert run.error is error
    assert run.statuses == ["completed", status, "pending"]


def test_a_phase_that_may_fail_lets_the_chain_go_on() -> None:
    run = Run(phase(), phase(failing(UsageError("no key\nat all")), "continue"), phase())
    assert run.statuses == ["completed", "failed", "completed"]
    assert run.recorded[-1] == ["completed", "failed", "pending"]
    assert run.result is not None
    assert run.result.phases[1].error == "no key"
    assert run.result.broken == ("b",)
    assert not run.result.is_whole
    assert run.result.summary == "2 of 3 phases done; b failed (see the log)"
    assert run.result.counts["failed_phases"] == ["b"]


def test_the_wish_to_stop_ends_also_a_phase_that_may_fail() -> None:
    run = Run(phase(failing(JobCancelled("stop")), "continue"), phase())
    assert isinstance(run.error, JobCancelled)
    assert run.statuses == ["cancelled", "pending"]


def test_a_passing_error_is_raised_as_long_as_it_is_tried_again() -> None:
    busy = TransientError("busy")
    again = Run(phase(failing(busy), "continue"), phase(), can_retry=True)
    assert again.error is busy
    assert again.statuses == ["running", "pending"]
    over = Run(phase(failing(busy), "continue"), phase(), can_retry=False)
    assert over.error is None
    assert over.statuses == ["failed", "completed"]


def test_failed_documents_let_the_chain_go_on() -> None:
    run = Run(phase(lambda *_: PhaseResult({"failed": 3}, "", 3)), phase())
    assert run.result is not None
    assert (run.result.failed, run.result.is_whole) == (3, False)


def test_phases_that_are_done_are_not_run_again_and_count() -> None:
    run = Run(phase(failing(RuntimeError("not again"))), phase(), done_before=1)
    assert run.error is None
    assert run.result is not None
    assert run.result.phases[0].result == {"old": True}
    assert run.result.failed == 2
    assert run.result.summary.startswith("2 of 2 phases done, 1 of them before")


def test_a_phase_that_gives_up_by_itself_has_failed() -> None:
    """Nobody wished it to stop: given back to the queue it would run for ever."""
    run = Run(phase(failing(JobCancelled("enough"))), phase(), stopping=False)
    assert isinstance(run.error, KbjobsError)
    assert not isinstance(run.error, JobCancelled)
    assert run.statuses == ["failed", "pending"]
    passed = Run(phase(failing(JobCancelled("enough")), "continue"), phase(), stopping=False)
    assert passed.statuses == ["failed", "completed"]


class Untold(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("error", [SystemExit(3), Untold()])
def test_whatever_a_phase_raises_ends_it(error: BaseException) -> None:
    run = Run(phase(failing(error), "continue"), phase())
    assert run.error is None
    assert run.statuses == ["failed", "completed"]


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (None, "not a PhaseResult"),
        (PhaseResult({"ids": {1, 2}}, ""), "not JSON"),
        (PhaseResult({"score": float("nan")}, ""), "not JSON"),
        (PhaseResult({"text": "x" * 70_000}, ""), "65,536 are the most"),
    ],
)
def test_a_result_that_cannot_stand_in_the_state_fails_the_phase(result: Any, output: str) -> None:
    run = Run(phase(lambda *_: result), phase())
    assert isinstance(run.error, KbjobsError)
    assert output in run.error.message
    assert run.statuses == ["failed", "pending"]


def test_the_same_document_that_fails_in_each_phase_counts_once() -> None:
    run = Run(phase(lambda *_: PhaseResult({}, "", 1)), phase(lambda *_: PhaseResult({}, "", 3)))
    assert run.result is not None
    assert run.result.summary == "2 of 2 phases done; 3 documents could not be processed (see the log)"


@pytest.mark.parametrize("on_error", ["stop", "continue"])
def test_a_phase_that_waits_is_neither_ended_nor_passed(on_error: OnError) -> None:
    run = Run(phase(), phase(failing(JobWaits("waiting for a sign", 5.0)), on_error), phase(), can_retry=True)
    assert isinstance(run.error, JobWaits)
    assert [entry.status for entry in run.progress.snapshot()] == ["completed", "running", "pending"]
