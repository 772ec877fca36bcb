"""Following jobs: bars on a terminal, plain lines off it, JSON lines for programs."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kbjobs.commands._errors import discard, printable
from kbjobs.commands._render import (
    describe_counts,
    describe_phase,
    describe_rate,
    describe_time_left,
    describe_window,
    is_terminal,
    open_console,
    percentage,
    phase_detail,
    phase_progress,
    phase_row,
    say,
    title,
)
from kbjobs.commands._several import Done
from kbjobs.errors import ExitCode, worst
from kbjobs.formatting import duration
from kbjobs.services.job_events import JobEvent
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Job
from kbjobs.store.pauses import Pause
from kbjobs.store.phase_state import PhaseState, PhaseStatus
from kbjobs.store.transitions import Status

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress, TaskID

PLAIN_SECONDS = 60.0  # between two plain lines of progress: bars in cron's mail helped nobody
BAR_WIDTH = 12
WIDE = 76  # columns of a terminal that has room for the bars and weights of phases


class ProgressMode(StrEnum):
    """How progress is shown."""

    AUTO = "auto"
    BAR = "bar"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")]
PROGRESS = Annotated[ProgressMode, typer.Option(help="How progress is shown.")]


def choose_mode(as_json: bool, quiet: bool, progress: ProgressMode = ProgressMode.AUTO) -> ProgressMode:
    """Choose how to show progress.

    Args:
        as_json: ``--json``, which wins.
        quiet: ``--quiet``, which wins over ``--progress``.
        progress: ``--progress``.
    """
    return ProgressMode.JSON if as_json else ProgressMode.NONE if quiet else progress


def follow(
    manager: JobManager, job_ids: Sequence[int], mode: ProgressMode, revive: bool, seconds: float = math.inf
) -> int:
    """Show jobs until all have ended. Ctrl-C detaches; the jobs keep running.

    Args:
        manager: gives the jobs and their events.
        job_ids: the jobs to follow.
        mode: how to show them.
        revive: whether to start the daemon if none runs.
        seconds: how long to wait for them.

    Returns:
        The worst exit code of the jobs, or CTRL_C.

    Raises:
        TimeLimitError: a job has not ended within ``seconds``.
        NotFoundError: there is no such job.
    """
    if mode in (ProgressMode.AUTO, ProgressMode.BAR):
        mode = ProgressMode.BAR if is_terminal(sys.stderr) else ProgressMode.PLAIN
    show = {
        ProgressMode.BAR: _show_bars,
        ProgressMode.PLAIN: _show_lines,
        ProgressMode.JSON: _show_json,
        ProgressMode.NONE: _show_end,
    }[mode]
    try:
        ended = show(manager.follow(job_ids, revive, seconds), [manager.get_status(job_id) for job_id in job_ids])
    except KeyboardInterrupt:
        names = " ".join(str(job_id) for job_id in job_ids)
        say(f"\nDetached; the work goes on. kbjobs watch {names} shows it, kbjobs cancel {names} stops it.")
        return ExitCode.CTRL_C
    except BrokenPipeError:  # whoever read the stream has gone, and does not know how the jobs will end
        discard(sys.stdout)
        return ExitCode.CTRL_C
    return worst(job.exit_code or 0 for job in ended)


def format_held(pause: Pause) -> str:
    """That a job waits for the end of a pause."""
    return f"{pause.what} is paused, it waits for {pause.remedy}"


def say_held(manager: JobManager, ids: Sequence[int]) -> None:
    """Say which of the jobs, which nobody follows, wait for the end of a pause."""
    held = manager.get_held_jobs()
    for job_id in ids:
        if job_id in held:
            say(f"job {job_id}: {format_held(held[job_id])}")


def follow_again(manager: JobManager, done: Done, detach: bool, mode: ProgressMode) -> None:
    """Follow jobs that were put back in the queue, or only name them.

    Args:
        manager: gives the jobs and their events.
        done: the jobs, and the errors of those that were refused.
        detach: whether to name the jobs without following them.
        mode: how to show them.

    Raises:
        typer.Exit: always, with the worst exit code.
    """
    ids = [job.id for job in done.jobs]
    if not ids or detach:
        if mode is ProgressMode.JSON:
            for job in done.jobs:
                print(json.dumps({"event": "queued", "job": job.as_dict()}, ensure_ascii=False))
        elif ids and mode is not ProgressMode.NONE:
            say(f"queued: {' '.join(str(job_id) for job_id in ids)}")
            say_held(manager, ids)
        raise typer.Exit(done.code)
    code = follow(manager, ids, mode, revive=True)
    raise typer.Exit(code if code == ExitCode.CTRL_C or not done.errors else worst([code, done.code]))


def summary(job: Job) -> str:
    """One line on how a job ended, and if it did not end well, what to do."""
    text = f"job {job.id} {title(job)}: {job.status}"
    text += f" in {duration(job.duration)}" if job.attempt else ""
    text += f" after {job.attempt} attempts" if job.attempt > 1 else ""
    if job.status is Status.FAILED:
        text += f": {job.error or job.message}"
        return f"{text}\nGo on with kbjobs resume {job.id}." if len(job.phases) > 1 else text
    detail = (job.error if job.status is Status.INTERRUPTED else None) or job.message
    text += f": {detail}" if detail and detail != str(job.status) else ""
    if job.status in (Status.CANCELLED, Status.INTERRUPTED):
        text += f"\nGo on with kbjobs resume {job.id}."
    return text


def _print_summary(job: Job) -> None:
    if job.status is not Status.COMPLETED:
        say(summary(job))
        return
    try:
        print(printable(summary(job)), flush=True)
    except BrokenPipeError:  # the job still has an exit code to give
        discard(sys.stdout)


def _show_json(events: Iterator[JobEvent], jobs: Sequence[Job]) -> list[Job]:
    ended = []
    for event in events:
        document: dict[str, Any] = {"event": event.event, "job": event.job.as_dict()}
        if event.pause is not None:
            document["pause"] = asdict(event.pause)
        print(json.dumps(document, ensure_ascii=False), flush=True)
        if event.event == "finished":
            ended.append(event.job)
    return ended


def _show_end(events: Iterator[JobEvent], jobs: Sequence[Job]) -> list[Job]:
    ended = [event.job for event in events if event.event == "finished"]
    for job in ended:
        if job.exit_code:
            _print_summary(job)
    return ended


def _show_lines(events: Iterator[JobEvent], jobs: Sequence[Job]) -> list[Job]:
    ended = []
    last = dict.fromkeys((job.id for job in jobs), time.monotonic())
    shown: dict[int, set[int]] = {job.id: set() for job in jobs}
    for event in events:
        job = event.job
        if event.event == "queued":
            say(f"job {job.id}: {_describe(event)}")
        _say_ended_phases(job, shown[job.id])
        if event.event == "finished":
            _print_summary(job)
            ended.append(job)
        elif event.event == "progress":
            if time.monotonic() - last[job.id] >= PLAIN_SECONDS:
                last[job.id] = time.monotonic()
                say(f"job {job.id}: {percentage(job.progress)} {describe_phase(job)}")
        elif event.event != "queued":
            say(f"job {job.id}: {_describe(event)}")
    return ended


def _say_ended_phases(job: Job, shown: set[int]) -> None:
    """A line for each phase of a combined job that has ended since the last look."""
    if len(job.phases) < 2:
        return
    for index, phase in enumerate(job.phases):
        if phase.has_ended and index not in shown:
            shown.add(index)
            name, status, _, _, taken, detail = phase_row(phase)
            text = f"job {job.id}: phase {name} {status}" + (f" in {taken}" if taken else "")
            say(f"{text}: {detail}" if detail else text)


def _describe(event: JobEvent) -> str:
    job = event.job
    if event.event == "queued":
        standing = "queued" if job.status is Status.PENDING else job.status
        return ", ".join(filter(None, (f"{title(job)} is {standing}", describe_window(job))))
    if event.pause is not None:
        return format_held(event.pause)
    if event.event == "retry":
        return f"back in the queue, {job.message}"
    if event.event == "phase" and job.phase is not None:
        return f"phase {job.phase.name.replace('_', '-')}"
    return f"attempt {job.attempt} started" if job.attempt > 1 else "started"


def _show_bars(events: Iterator[JobEvent], jobs: Sequence[Job]) -> list[Job]:
    from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn
    from rich.text import Text

    class _Spinner(SpinnerColumn):
        """Turns beside what runs, and beside nothing else."""

        def render(self, task: Task) -> RenderableType:
            return super().render(task) if task.fields["runs"] else Text(" ")

    ended: list[Job] = []
    console = open_console(sys.stderr)
    # Several jobs at once get a line each, one alone shows its phases.
    has_phases = len(jobs) == 1 and len(jobs[0].phases) > 1
    bar_width = BAR_WIDTH if not has_phases or console.width >= WIDE else 0
    name, *others = (TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in BAR_TEXTS)
    bar = (BarColumn(bar_width=bar_width),) if bar_width else ()
    with Progress(_Spinner("line"), name, *bar, *others, console=console, refresh_per_second=8, transient=True) as bars:
        lines = _Lines(bars, console.width, bar_width)
        for event in events:
            job = event.job
            detail = format_held(event.pause) if event.pause is not None else _describe_now(job)
            lines.show(str(job.id), job.progress, _job_fields(job), detail)
            if has_phases:
                for index, phase in enumerate(job.phases):
                    fields = _phase_fields(phase, with_weight=bool(bar_width))
                    lines.show(f"{job.id}.{index}", phase_progress(phase), fields, phase_detail(phase))
            if event.event == "retry":
                bars.console.print(f"job {job.id}: {_describe(event)}", markup=False, highlight=False)
            if event.event == "finished":
                ended.append(job)
    for job in ended:
        _say_ended_phases(job, set())
        _print_summary(job)
    return ended


def _describe_now(job: Job) -> str:
    """What a job does, or what it waits for."""
    if job.status is Status.PENDING:
        return ", ".join(filter(None, (job.message or str(job.status), describe_window(job))))
    return describe_counts(job) or str(job.status)


BAR_TEXTS = ("title", "done", "rate", "left", "detail")


def _job_fields(job: Job) -> dict[str, Any]:
    return {
        "title": title(job),
        "done": f"{percentage(job.progress):>4}",
        "rate": describe_rate(job),
        "left": describe_time_left(job),
        "runs": job.status is Status.RUNNING,
    }


def _phase_fields(phase: PhaseState, with_weight: bool) -> dict[str, Any]:
    name, status, done, weight, taken, _ = phase_row(phase)
    is_settled = status not in ("pending", "running")
    return {
        "title": f"  {name}",
        "done": f"{done:>4}",
        "rate": f"weight {weight}" if with_weight else "",
        "left": f"{status} {taken}".rstrip() if is_settled else "",
        "runs": phase.status is PhaseStatus.RUNNING,
    }


class _Lines:
    """The lines of bars on a terminal. On a narrow one the detail gives way, never the rate or the time left."""

    def __init__(self, bars: Progress, width: int, bar_width: int) -> None:
        self._bars = bars
        self._room = width - (bar_width + 1 if bar_width else 0) - 3
        self._tasks: dict[str, TaskID] = {}

    def show(self, key: str, completed: float, fields: dict[str, Any], detail: str) -> None:
        """Draw a line, or draw it again."""
        from rich.text import Text

        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task("", total=100, detail="", **fields)
        widths = [max(len(task.fields[name]) for task in self._bars.tasks) + 1 for name in BAR_TEXTS[:-1]]
        text = Text(printable(detail).replace("\n", " "))
        text.truncate(max(0, self._room - sum(widths)), overflow="ellipsis")
        self._bars.update(self._tasks[key], completed=completed, detail=text.plain, **fields)
