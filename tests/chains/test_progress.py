"""Progress of a whole chain from the reports of its phases, whatever they report, and the time left."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.chains.progress import Past, Progress, shares_of
from kbjobs.store.jobs import Report, RunningPhase
from kbjobs.store.phase_state import PhaseStatus
from tests.conftest import phase_state


class Recorder:
    """A Progress over phases of the given weights, with a clock that is set and every report kept."""

    def __init__(
        self, weights: Sequence[float], reached: float = 0.0, pasts: dict[int, Past] | None = None, done: int = 0
    ) -> None:
        self.time = 0.0
        self.steps = 0
        self.reports: list[Report] = []
        before: dict[str, Any] = {"status": PhaseStatus.COMPLETED, "is_skipped": True}
        phases = [
            phase_state(f"p{number}", weight=weight, **(before if number < done else {}))
            for number, weight in enumerate(weights)
        ]
        self.progress = Progress(phases, self.reports.append, self.count, reached, pasts, lambda: self.time)

    def count(self, steps: int) -> None:
        self.steps += steps

    def end(self, index: int, status: str = "completed", **outcome: Any) -> None:
        entry = self.progress.snapshot()[index]
        self.progress.end(index, replace(entry, status=PhaseStatus(status), **outcome))

    def report(self, current: int, total: int, span: tuple[float, float] = (0.0, 1.0), eta: bool = True) -> Report:
        self.progress.report(current, total, "chunks", "working", span, eta)
        return self.reports[-1]


COUNTS = st.integers(-10, 10**9)
SHARE = st.floats(0, 1)
EVENTS = st.lists(st.tuples(COUNTS, COUNTS, st.tuples(SHARE, SHARE), st.booleans(), st.floats(-1, 1e6)), max_size=12)
CHAINS = st.lists(st.tuples(st.floats(0, 1e308), EVENTS), min_size=1, max_size=6)


@given(
    CHAINS,
    st.sampled_from(["completed", "failed", "cancelled"]),
    st.floats(0, 100),
    st.dictionaries(st.integers(0, 5), st.builds(Past, st.floats(0, 1e9), st.floats(0, 1e9), st.just("chunks"))),
    st.integers(0, 5),
)
def test_progress_only_grows_and_is_100_only_at_the_end(
    chain: list[Any], last: str, reached: float, pasts: dict[int, Past], done: int
) -> None:
    done = min(done, len(chain) - 1)
    recorder = Recorder([weight for weight, _ in chain], reached, pasts, done)
    for index, (_, events) in list(enumerate(chain))[done:]:
        recorder.progress.start(index)
        for current, total, span, eta, seconds in events:
            recorder.time += seconds
            recorder.report(current, total, span, eta)
        is_last = index == len(chain) - 1
        recorder.end(index, last if is_last else "completed")
        recorder.progress.report_phases()
    values = [report.progress for report in recorder.reports]
    assert values == sorted(values)
    assert values[0] >= min(reached, 99.9)
    assert all(round(value, 1) < 100 for value in values[:-1])
    assert (values[-1] == 100) == (last != "cancelled")
    for report in recorder.reports:
        assert report.eta is None or (math.isfinite(report.eta) and report.eta >= 0)
        rate = report.phase.rate if report.phase is not None else None
        assert rate is None or (math.isfinite(rate) and rate >= 0)
        reports = [report.phase and asdict(report.phase), [one.as_dict() for one in report.phases], report.eta]
        json.dumps(reports, allow_nan=False)
    assert abs(sum(one.weight for one in recorder.progress.snapshot()) - 100) <= 0.05 * len(chain) + 1e-9


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
        recorder.end(index, result={"n": index})
        recorder.progress.report_phases()
        assert recorder.reports[-1].progress == pytest.approx(end)
        assert recorder.reports[-1].phases[index].is_completed
        assert recorder.reports[-1].phases[index].result == {"n": index}
    assert recorder.reports[-1].progress == 100


def test_spans_are_parts_of_the_phase_and_phases_parts_of_the_whole() -> None:
    recorder = Recorder([50, 50])
    recorder.progress.start(1)
    assert recorder.reports[-1].progress == 50
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
    assert (first.eta, first.phase and first.phase.rate) == (None, None)
    recorder.time = 110.0
    reports = recorder.report(1500, 3000)
    assert (reports.eta, reports.phase and reports.phase.rate) == (30.0, 50.0)
    assert reports.phase == RunningPhase(0, "p0", 1500, 3000, "chunks", 50.0)
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
    reports = recorder.report(100, 1000)
    assert (reports.eta, reports.phase and reports.phase.rate) == (90.0, 10.0)
    assert reports.progress == 50


def test_an_instant_tells_no_rate() -> None:
    recorder = Recorder([100])
    recorder.progress.start(0)
    recorder.report(0, 10**9)
    recorder.time = 5e-324
    reports = recorder.report(10**8, 10**9)
    assert (reports.eta, reports.phase and reports.phase.rate) == (None, None)


def test_saved_steps_are_passed_on() -> None:
    recorder = Recorder([1])
    recorder.progress.saved(3)
    recorder.progress.saved(4)
    assert recorder.steps == 7


# -- the time left of the whole chain ----------------------------------------------------------------


def test_the_rate_of_the_last_time_tells_the_time_left_until_one_is_measured() -> None:
    recorder = Recorder([100], pasts={0: Past(500.0, 10.0, "chunks")})
    recorder.progress.start(0)
    assert recorder.reports[-1].eta == 500
    assert recorder.report(0, 3000).eta == 300
    recorder.time = 10.0
    assert recorder.report(500, 3000).eta == 50


def test_a_rate_of_another_unit_tells_nothing() -> None:
    recorder = Recorder([100], pasts={0: Past(500.0, 10.0, "documents")})
    recorder.progress.start(0)
    recorder.time = 100.0
    assert recorder.report(0, 3000).eta == 400
    recorder.time = 501.0
    assert recorder.report(0, 3000).eta is None  # it takes longer than the last time: nobody knows how much


def test_later_phases_count_by_what_they_took_the_last_time() -> None:
    recorder = Recorder([10, 45, 45], pasts={1: Past(120.0), 2: Past(60.0)})
    recorder.progress.start(0)
    recorder.report(0, 100)
    recorder.time = 10.0
    assert recorder.report(50, 100).eta == pytest.approx(10 + 120 + 60)


def test_a_phase_that_never_ran_counts_by_its_weight() -> None:
    recorder = Recorder([25, 75])
    recorder.progress.start(0)
    recorder.report(0, 100)
    recorder.time = 10.0
    assert recorder.report(50, 100).eta == pytest.approx(10 + 60)


def test_phases_that_were_done_before_cost_nothing() -> None:
    recorder = Recorder([25, 25, 50], done=2)
    recorder.progress.start(2)
    assert recorder.reports[-1].progress == 50
    recorder.report(0, 100)
    recorder.time = 10.0
    assert recorder.report(25, 100).eta == pytest.approx(30)


def test_progress_goes_on_from_what_was_reached() -> None:
    recorder = Recorder([50, 50], reached=30.0)
    recorder.progress.start(0)
    assert recorder.report(10, 100).progress == 30
    assert recorder.report(80, 100).progress == 40


@pytest.mark.parametrize(
    ("weights", "shares"),
    [([1, 3], [25, 75]), ([0, 0], [50, 50]), ([5e-324, 5e-324], [50, 50]), ([1e308, 1e308], [50, 50]), ([7], [100])],
)
def test_weights_are_normalised(weights: list[float], shares: list[float]) -> None:
    assert shares_of(weights) == pytest.approx(shares)
