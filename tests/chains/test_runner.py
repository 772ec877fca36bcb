"""The runner: progress of a whole chain from the reports of its phases, whatever they report."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.chains.runner import Phase, Progress, Report, run_chain
from kbjobs.errors import JobCancelled
from kbjobs.phases.base import JobType, Params, PhaseResult, Plan


def phase(name: str, weight: float, run: Callable[..., PhaseResult] | None = None) -> Phase:
    def plan(*_: Any) -> Plan:
        return Plan(Params())

    def nothing(*_: Any) -> PhaseResult:
        return PhaseResult({}, "")

    kind = JobType(name, name.title(), "", "test", "test", Params, plan, run or nothing)
    return Phase(name, kind, Params(), weight)


class Recorder:
    """A Progress over phases of the given weights, with a clock that is set and every report kept."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.time = 0.0
        self.steps = 0
        self.told: list[Report] = []
        phases = [phase(f"p{number}", weight) for number, weight in enumerate(weights)]
        self.progress = Progress(phases, self.told.append, self.count, lambda: self.time)

    def count(self, steps: int) -> None:
        self.steps += steps

    def report(self, current: int, total: int, span: tuple[float, float] = (0.0, 1.0), eta: bool = True) -> Report:
        self.progress.report(current, total, "chunks", "working", span, eta)
        return self.told[-1]


COUNTS = st.integers(-10, 10**9)
SHARE = st.floats(0, 1)
EVENTS = st.lists(st.tuples(COUNTS, COUNTS, st.tuples(SHARE, SHARE), st.booleans(), st.floats(-1, 1e6)), max_size=12)
CHAINS = st.lists(st.tuples(st.floats(0, 1e6), EVENTS), min_size=1, max_size=6)


@given(CHAINS, st.sampled_from(["completed", "failed", "cancelled"]))
def test_progress_only_grows_and_is_100_only_at_the_end(chain: list[Any], last: str) -> None:
    recorder = Recorder([weight for weight, _ in chain])
    for index, (_, events) in enumerate(chain):
        recorder.progress.start(index)
        for current, total, span, eta, seconds in events:
            recorder.time += seconds
            recorder.report(current, total, span, eta)
        is_last = index == len(chain) - 1
        recorder.progress.end(index, last if is_last else "completed", {})
    values = [report.progress for report in recorder.told]
    assert values == sorted(values)
    assert values[0] >= 0
    assert all(round(value, 1) < 100 for value in values[:-1])
    assert (values[-1] == 100) == (last == "completed")
    for report in recorder.told:
        assert report.eta is None or (math.isfinite(report.eta) and report.eta >= 0)
        rate = report.phase and report.phase["rate"]
        assert rate is None or (math.isfinite(rate) and rate >= 0)
        json.dumps([report.phase, report.phases, report.eta], allow_nan=False)
    assert abs(sum(one["weight"] for one in recorder.progress.snapshot()) - 100) <= 0.05 * len(chain) + 1e-9


@pytest.mark.parametrize(
    ("weights", "ends"),
    [
        ([50, 50], [50, 100]),
        ([1, 3], [25, 100]),
        ([20, 30, 50], [20, 50, 100]),
        ([0, 0], [50, 100]),
        ([0, 10], [0, 100]),
        ([1 / 3] * 3, [100 / 3, 200 / 3, 100]),
        ([50], [100]),
    ],
)
def test_a_phase_counts_by_its_weight(weights: list[float], ends: list[float]) -> None:
    recorder = Recorder(weights)
    for index, end in enumerate(ends):
        recorder.progress.start(index)
        recorder.progress.end(index, "completed", {"n": index})
        assert recorder.told[-1].progress == pytest.approx(end)
        assert recorder.told[-1].phases[index]["status"] == "completed"
        assert recorder.told[-1].phases[index]["result"] == {"n": index}
    assert recorder.told[-1].progress == 100


def test_spans_are_parts_of_the_phase_and_phases_parts_of_the_whole() -> None:
    recorder = Recorder([50, 50])
    recorder.progress.start(1)
    assert recorder.told[-1].progress == 0
    assert recorder.report(0, 10, (0.0, 0.5)).progress == 50
    assert recorder.report(5, 10, (0.0, 0.5)).progress == 62.5
    assert recorder.report(10, 10, (0.0, 0.5)).progress == 75
    assert recorder.report(0, 0, (0.5, 1.0)).progress == 75
    assert recorder.report(20, 10, (0.5, 1.0)).progress == 99.9


def test_rate_and_time_left_are_measured_in_the_span() -> None:
    recorder = Recorder([100])
    recorder.progress.start(0)
    recorder.time = 100.0
    first = recorder.report(1000, 3000)  # found done at the start: tells nothing of the rate
    assert (first.eta, first.phase and first.phase["rate"]) == (None, None)
    recorder.time = 110.0
    told = recorder.report(1500, 3000)
    assert (told.eta, told.phase and told.phase["rate"]) == (30.0, 50.0)
    assert told.phase == {
        "index": 0, "name": "p0", "current": 1500, "total": 3000, "unit": "chunks", "rate": 50.0
    }  # fmt: skip
    assert recorder.report(1600, 3000, eta=False).eta is None
    other = recorder.report(1, 5, (0.5, 1.0))
    assert other.eta is None
    recorder.time = 120.0
    assert recorder.report(7, 5, (0.5, 1.0)).eta == 0


def test_a_count_that_goes_back_is_measured_anew() -> None:
    recorder = Recorder([100])
    recorder.progress.start(0)
    recorder.report(500, 1000)
    recorder.time = 10.0
    recorder.report(0, 1000)
    recorder.time = 20.0
    told = recorder.report(100, 1000)
    assert (told.eta, told.phase and told.phase["rate"]) == (90.0, 10.0)
    assert told.progress == 50


def test_an_instant_tells_no_rate() -> None:
    recorder = Recorder([100])
    recorder.progress.start(0)
    recorder.report(0, 10**9)
    recorder.time = 5e-324
    told = recorder.report(10**8, 10**9)
    assert (told.eta, told.phase and told.phase["rate"]) == (None, None)


def test_saved_steps_are_passed_on() -> None:
    recorder = Recorder([1])
    recorder.progress.saved(3)
    recorder.progress.saved(4)
    assert recorder.steps == 7


# -- the chain itself --------------------------------------------------------------------------------


def run(*phases: Phase) -> tuple[list[PhaseResult], list[dict[str, Any]]]:
    progress = Progress(phases, lambda report: None, lambda steps: None)
    try:
        results = run_chain(phases, progress, lambda phase: phase, logging.getLogger("test"))  # type: ignore[arg-type,return-value]
    except (RuntimeError, JobCancelled):
        results = []
    return results, progress.snapshot()


def test_phases_run_in_order_and_each_keeps_its_result() -> None:
    order: list[str] = []

    def work(context: Any, params: Params) -> PhaseResult:
        order.append(context.name)
        return PhaseResult({"seen": len(order)}, "done")

    results, phases = run(phase("a", 1, work), phase("b", 2, work))
    assert order == ["a", "b"]
    assert [result.counts for result in results] == [{"seen": 1}, {"seen": 2}]
    assert [(one["status"], one["result"]) for one in phases] == [
        ("completed", {"seen": 1}),
        ("completed", {"seen": 2}),
    ]


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("no"), "failed"), (JobCancelled("stop"), "cancelled")])
def test_an_error_ends_the_chain_where_it_stands(error: Exception, status: str) -> None:
    def fail(*_: Any) -> PhaseResult:
        raise error

    results, phases = run(phase("a", 1), phase("b", 1, fail), phase("c", 1))
    assert results == []
    assert [one["status"] for one in phases] == ["completed", status, "pending"]
