"""Live progress on a terminal: a bar for each job or phase that takes the room there is, below it what is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kbjobs.commands._job_table import STATES
from kbjobs.commands._progress_text import live_texts
from kbjobs.commands._render import percentage, phase_progress, phase_row, title
from kbjobs.commands._table import choose_text, clean, fit_encoding, measure, pad, shorten
from kbjobs.services.job_events import JobEvent
from kbjobs.store.jobs import Job
from kbjobs.store.pauses import Pause
from kbjobs.store.phase_state import PhaseState

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDE = 76  # columns of a terminal that has room for words on each phase
LEAST_BAR = 10  # cells
MARGIN = 2  # cells for the sign before a name
SPINNER = "-\\|/"
TURNS = 8.0  # signs of the spinner a second


@dataclass(frozen=True, slots=True)
class Bar:
    """A line with a bar; ``progress`` in percent, ``status`` of the job or phase, ``more`` stands at the end."""

    name: str
    progress: float
    status: str
    more: str = ""


class LiveBars:
    """The lines that are drawn while jobs are followed, as their last events say."""

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        """Begin with the jobs as they stand."""
        self._console = console
        self._jobs = {job.id: job for job in jobs}
        self._pauses: dict[int, Pause | None] = {}

    def update(self, event: JobEvent) -> None:
        """Take over what an event says."""
        self._pauses[event.job.id] = event.pause
        self._jobs[event.job.id] = event.job

    def draw(self) -> Text:
        """The lines as wide as the terminal is now; none is wider."""
        from rich.text import Text

        jobs, width = list(self._jobs.values()), self._console.width
        bars = {job.id: self._bars(job, width, has_phases=len(jobs) == 1) for job in jobs}
        has_room = 2 * len(jobs) < self._console.height
        every = [bar for found in bars.values() for bar in found]
        names, ends = _names_width(every, width), max(len(bar.more) for bar in every)
        lines: list[Text] = []
        for job in jobs:
            lines += [self._line(bar, names, width - ends) for bar in bars[job.id]]
            if not job.has_ended and (len(jobs) == 1 or has_room):
                lines.append(self._detail(job, names, width))
        return fit_encoding(self._console, Text("\n", no_wrap=True, overflow="crop").join(lines))

    def _bars(self, job: Job, width: int, *, has_phases: bool) -> list[Bar]:
        found = [Bar(title(job), job.progress, str(job.status))]
        if has_phases and len(job.phases) > 1:
            found += [_phase_bar(phase, width >= WIDE) for phase in job.phases]
        return found

    def _line(self, bar: Bar, names: int, width: int) -> Text:
        """Sign, name, bar and percentage in so many cells, then what else there is to say."""
        from rich.text import Text

        sign, _, style = STATES[bar.status]
        if bar.status == "running":
            sign = SPINNER[int(time.monotonic() * TURNS) % len(SPINNER)]
        name = pad(shorten(clean(bar.name), names), names)
        room = max(LEAST_BAR, width - MARGIN - names - len("  100%"))
        line = Text.assemble((sign, style), f" {name} ")
        line.append_text(draw_bar(bar.progress, room, has_colours=self._console.color_system is not None))
        return line.append(f" {percentage(bar.progress):>4}{bar.more}")

    def _detail(self, job: Job, names: int, width: int) -> Text:
        """What the job does, below its bar; its id on the right."""
        from rich.text import Text

        start = MARGIN + names + 1
        name = f"(job {job.id})"
        texts = [clean(text) for text in live_texts(job, self._pauses.get(job.id))]
        # Where the name leaves too little, the text begins further to the left.
        start = min(start, max(MARGIN, width - len(name) - 2 - len(texts[0])))
        room = width - start - len(name) - 2
        return Text(f"{'':{start}}{pad(choose_text(texts, room), room)}  {name}")


def draw_bar(progress: float, width: int, *, has_colours: bool) -> Text:
    """Draw a bar.

    Args:
        progress: percent.
        width: cells.
        has_colours: whether what is left can be told from what is done by its colour; else it stays empty.
    """
    from rich.text import Text

    full, half = divmod(int(2 * width * min(100.0, max(0.0, progress)) / 100), 2)
    bar = Text("━" * full + "╸" * half, style="bar.finished" if progress >= 100 else "bar.complete")
    rest = width - full - half
    return bar.append("━" * rest, "bar.back") if has_colours else bar.append(" " * rest)


def _phase_bar(phase: PhaseState, is_wide: bool) -> Bar:
    name, _, _, weight, taken, _ = phase_row(phase)
    word = "done before" if phase.is_skipped else STATES[phase.status][1]
    if phase.status in ("pending", "running"):
        more = f" weight {weight}" if is_wide else ""
    else:
        more = f" {word} {taken}".rstrip() if is_wide else f" {taken}".rstrip()
    return Bar(f"  {name}", phase_progress(phase), str(phase.status), more)


def _names_width(bars: Sequence[Bar], width: int) -> int:
    return min(max(measure(clean(bar.name)) for bar in bars), max(LEAST_BAR, 2 * width // 5))
