"""Following jobs: bars on a terminal, plain lines off it, JSON lines for programs."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from kbjobs.commands._bars import LiveBars
from kbjobs.commands._ending import ending_stream, print_end, print_summary
from kbjobs.commands._errors import discard, printable
from kbjobs.commands._job_table import ListedJob, print_jobs
from kbjobs.commands._render import (
    describe_phase,
    describe_window,
    is_terminal,
    open_console,
    percentage,
    phase_row,
    say,
    title,
)
from kbjobs.commands._several import Done
from kbjobs.errors import ExitCode, worst
from kbjobs.services.job_events import JobEvent
from kbjobs.services.jobs import JobManager
from kbjobs.store.jobs import Job
from kbjobs.store.pauses import Pause
from kbjobs.store.transitions import Status

PLAIN_SECONDS = 60.0  # between two plain lines of progress: bars in cron's mail helped nobody
REFRESHES = 8.0  # of the bars a second


class ProgressMode(StrEnum):
    """How to show progress."""

    AUTO = "auto"
    BAR = "bar"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
PROGRESS = Annotated[ProgressMode, typer.Option(help="How to show progress.")]


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
        mode = ProgressMode.BAR if has_bars(mode) else ProgressMode.PLAIN
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
        say(f"\nThe job keeps running. kbjobs watch {names} shows it, kbjobs cancel {names} stops it.")
        return ExitCode.CTRL_C
    except BrokenPipeError:  # whoever read the stream has gone, and does not know how the jobs will end
        discard(sys.stdout)
        return ExitCode.CTRL_C
    return worst(job.exit_code or 0 for job in ended)


def has_bars(mode: ProgressMode) -> bool:
    """Whether bars are drawn in a mode: only on a terminal."""
    return mode in (ProgressMode.AUTO, ProgressMode.BAR) and is_terminal(sys.stderr)


def watch_jobs(manager: JobManager, job_id: int | None, mode: ProgressMode) -> int:
    """Show live progress of a job, or of all live ones, until they have ended; a daemon is started if none runs.

    Args:
        manager: gives the jobs and their events.
        job_id: the job; None for all that run or wait.
        mode: how to show them.

    Returns:
        The worst exit code of the jobs, or CTRL_C.

    Raises:
        NotFoundError: there is no such job.
    """
    jobs = [manager.get_status(job_id)] if job_id is not None else manager.get_active_jobs()
    if not jobs:
        say("No job is running or waiting.")
        return ExitCode.DONE
    is_live = not all(one.has_ended for one in jobs)
    return follow(manager, [one.id for one in jobs], mode, revive=is_live)


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
            print_summary(job)
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
            print_summary(job)
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
    from rich.live import Live

    ended: list[Job] = []
    console = open_console(sys.stderr)
    bars = LiveBars(console, jobs)
    with Live(get_renderable=bars.draw, console=console, refresh_per_second=REFRESHES, transient=True):
        for event in events:
            bars.update(event)
            if event.event == "retry":
                console.print(printable(f"job {event.job.id}: {_describe(event)}"), markup=False, highlight=False)
            if event.event == "finished":
                ended.append(event.job)
    _print_ends(ended)
    return ended


def _print_ends(ended: Sequence[Job]) -> None:
    """How each job ended; several that were completed stand in one table, if it is a terminal that shows it."""
    has_table = len(ended) > 1 and is_terminal(sys.stdout)
    for job in ended:
        if not is_terminal(ending_stream(job)):  # else the block has the phases
            _say_ended_phases(job, set())
        if not has_table or job.status is not Status.COMPLETED:
            print_end(job)
    if has_table:
        print_jobs([ListedJob(job) for job in ended])
