"""Drawings of jobs over time, as numbers for the templates: positions are percent of the width, heights pixels."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kbjobs.formatting import counted, duration
from kbjobs.store.jobs import Attempt, Job, JobRun
from kbjobs.store.phase_state import PhaseState
from kbjobs.store.transitions import Event

DAY = 86_400.0
LANES = 6
LANE = 10  # pixels
ROW = 26  # pixels of a phase's row
YEARS_HEIGHT = 40  # pixels
_MOST_YEARS = 60
_MARKS = 6
_LEAST_WIDTH = 0.3  # percent
_GAP = 0.3  # percent between two segments of a bar
_NAMES = 28.0  # percent of the width for the names of phases

Place = Callable[[str | None], float]

_STATES = {
    Event.COMPLETE: "completed", Event.FAIL: "failed", Event.CANCEL: "cancelled", Event.EXPIRE: "interrupted",
    Event.INTERRUPT: "interrupted", Event.REQUEUE: "interrupted", Event.POSTPONE: "interrupted",
}  # fmt: skip
_ENDS = {
    Event.REQUEUE: "stopped", Event.POSTPONE: "tried again", Event.INTERRUPT: "died", Event.EXPIRE: "out of time",
    Event.FAIL: "failed", Event.CANCEL: "cancelled",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A bar for something that lasted: its position, the state that sets its colour, and its label."""

    left: float
    width: float
    top: int
    state: str
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark for a point in time: its position and its label; ``moment`` is in UTC, ISO 8601."""

    left: float
    label: str
    moment: str = ""
    top: int = 0


@dataclass(frozen=True, slots=True)
class Drawing:
    """Bars over time, with marks."""

    bars: list[TimeSpan]
    marks: list[Mark]
    height: int
    summary: str


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a job's bar for one phase: its left edge, its width, and how much of it is done, in percent."""

    left: float
    width: float
    done: float
    state: str
    name: str


def draw_segments(job: Job) -> list[Segment]:
    """Draw the bar of a job, with a segment for each phase."""
    total = sum(phase.weight for phase in job.phases) or 1.0
    segments, left = [], 0.0
    for phase in job.phases:
        width = 100.0 * phase.weight / total
        done = 100.0 if phase.is_completed else 100.0 * (job.progress - left) / width if width else 0.0
        name = phase.name.replace("_", "-")
        segments.append(Segment(left, max(width - _GAP, 0.1), min(100.0, max(0.0, done)), str(phase.status), name))
        left += width
    return segments


def draw_years(counts: Mapping[int, int]) -> Drawing | None:
    """Draw the number of documents per year, with a bar for each year; None if there are fewer than two years."""
    if len(counts) < 2:
        return None
    first, last = max(min(counts), max(counts) - _MOST_YEARS + 1), max(counts)
    width, most = 100 / (last - first + 1), max(counts.values())
    bars = []
    for year in range(first, last + 1):
        height = round(YEARS_HEIGHT * counts.get(year, 0) / most)
        label = f"{year}: {counted(counts.get(year, 0), 'document')}"
        bars.append(TimeSpan(width * (year - first), max(0.1, width - _GAP), YEARS_HEIGHT - height, "completed", label))
    return Drawing(
        bars, [Mark(0, str(first)), Mark(100, str(last))], YEARS_HEIGHT, f"Documents by year, {first} to {last}"
    )


def draw_day(runs: Sequence[JobRun]) -> Drawing:
    """Draw the attempts of the last day as bars; simultaneous ones are in separate lanes."""
    now = time.time()
    start = now - DAY
    free: list[float] = []  # the time until which each lane is occupied
    bars = []
    for run in runs:
        begun, ended = max(start, _seconds(run.started_at)), _seconds(run.finished_at) if run.finished_at else now
        if ended < start:
            continue
        lane = next((number for number, taken in enumerate(free) if taken <= begun), len(free))
        if lane == len(free) and lane < LANES:
            free.append(ended)
        lane = min(lane, LANES - 1)
        free[lane] = max(free[lane], ended)
        name = " ".join(filter(None, (run.type.replace("_", "-"), run.source)))
        state = "running" if run.outcome is None else _STATES.get(Event(run.outcome), "interrupted")
        label = f"{name}, job {run.job_id}: {state}, {duration(ended - begun)}"
        width = max(_LEAST_WIDTH, 100 * (ended - begun) / DAY)
        bars.append(TimeSpan(min(100 - width, 100 * (begun - start) / DAY), width, lane * LANE, state, label))
    hours = [Mark(100 * number / _MARKS, "", _iso(start + DAY * number / _MARKS)) for number in range(1, _MARKS)]
    jobs = len({run.job_id for run in runs})
    return Drawing(bars, hours, max(1, len(free)) * LANE, f"{counted(jobs, 'job')} ran within the last 24 hours")


def draw_timeline(job: Job, attempts: Sequence[Attempt]) -> Drawing | None:
    """Draw when each phase of a job ran, and how each attempt ended; None before the job has started.

    Phases that ran under a version that recorded no times have no bar.
    """
    if not attempts:
        return None
    now = time.time()
    start = _seconds(attempts[0].started_at)
    end = max(
        [now if not job.has_ended else start, *(_seconds(one.finished_at) for one in attempts if one.finished_at)]
    )
    length = max(1.0, end - start)
    scale = (100.0 - _NAMES) / length

    def place(moment: str | None) -> float:
        return _NAMES + scale * ((now if moment is None else _seconds(moment)) - start)

    bars = []
    for row, phase in enumerate(job.phases):
        bars += _draw_phase(phase, attempts, row * ROW, place)
    height = len(job.phases) * ROW
    marks = [
        Mark(place(one.finished_at), _ENDS[Event(one.outcome)], one.finished_at or "", height)
        for one in attempts
        if one.finished_at and one.outcome in _ENDS
    ]
    told = counted(len(attempts), "attempt")
    return Drawing(bars, marks, height, f"{counted(len(job.phases), 'phase')} in {told}, {duration(length)} in all")


def _draw_phase(phase: PhaseState, attempts: Sequence[Attempt], top: int, place: Place) -> list[TimeSpan]:
    """Draw the bars of one phase, with gaps between attempts."""
    if phase.started_at is None:
        return []
    bars = []
    for one in attempts:
        first = max(phase.started_at, one.started_at)
        last = min(filter(None, (phase.finished_at, one.finished_at)), default=None)
        left, right = place(first), place(last)
        if right >= left:
            taken = duration(phase.seconds) if phase.seconds is not None else "runs"
            label = f"{phase.name.replace('_', '-')}: {phase.status}, {taken}"
            bars.append(TimeSpan(left, max(_LEAST_WIDTH, right - left), top, str(phase.status), label))
    return bars


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
