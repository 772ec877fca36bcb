"""Jobs as a table: on a terminal one line a job, with its state as a sign and a word; off one tab-separated fields."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from kbjobs.commands._figures import figures_of, find_figures, format_note
from kbjobs.commands._progress_text import join, live_texts
from kbjobs.commands._render import (
    DEAD,
    JOB_COLUMNS,
    PHASE_COLUMNS,
    age,
    is_terminal,
    job_row,
    open_console,
    percentage,
    phase_detail,
    phase_progress,
    phase_row,
    print_table,
    source_of,
)
from kbjobs.commands._table import Cell, Column, clean, print_line, print_rows, wrap
from kbjobs.commands._times import show_age_briefly, show_moment_briefly
from kbjobs.errors import ExitCode
from kbjobs.formatting import counted, duration
from kbjobs.store.jobs import Job
from kbjobs.store.pauses import Pause
from kbjobs.store.phase_state import PhaseState
from kbjobs.store.transitions import Status

if TYPE_CHECKING:
    from rich.console import Console

# The sign, the word and the style of each status of a job or a phase.
STATES = {
    "pending": ("◷", "waits", ""),
    "running": ("▶", "running", "cyan"),
    "completed": ("✓", "done", "green"),
    "failed": ("✗", "failed", "red"),
    "cancelled": ("⊘", "cancelled", "yellow"),
    "interrupted": ("‖", "interrupted", "red"),
}
PARTIAL_STYLE = "yellow"  # of what is done, but for some documents
NOTHING = "–"
COLUMNS = (
    Column("ID", is_number=True),
    Column("JOB", good=17, least=9),
    Column("SOURCE", good=14, least=7),
    Column("STATE"),
    Column("%", is_number=True),
    Column("TIME", is_number=True),
    Column("NOTE", good=30, least=9),
)
CREATED = Column("AGE", is_number=True)
HEADER = (*JOB_COLUMNS[:-1], "note")


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job in a list; ``is_dead``: its worker has ended without a word; ``pause`` is what holds it."""

    job: Job
    is_dead: bool = False
    pause: Pause | None = None


def print_jobs(listed: Sequence[ListedJob], *, header: bool = False, verbose: bool = False) -> None:
    """Print jobs in the order given.

    Args:
        listed: the jobs.
        header: whether to name the columns off a terminal too.
        verbose: whether to print notes in full, and phases, on a terminal.
    """
    if not is_terminal(sys.stdout):
        rows = [job_row(one.job, one.is_dead, one.pause) for one in listed]
        print_table(JOB_COLUMNS, [HEADER, *rows] if header else rows)
    elif verbose:
        _print_in_full(open_console(sys.stdout), listed)
    else:
        print_rows(open_console(sys.stdout), COLUMNS, [_cells(one) for one in listed])


def print_history(jobs: Sequence[Job], *, header: bool = False) -> None:
    """Print jobs with when they were created.

    Args:
        jobs: in the order given.
        header: whether to name the columns off a terminal too.
    """
    if is_terminal(sys.stdout):
        columns = (*COLUMNS[:-1], CREATED, COLUMNS[-1])
        rows = [_cells(ListedJob(job)) for job in jobs]
        ages = [Cell(show_age_briefly(job.created_at)) for job in jobs]
        shown = [(*row[:-1], created, row[-1]) for row, created in zip(rows, ages, strict=True)]
        print_rows(open_console(sys.stdout), columns, shown)
        return
    fields = [(*(row := job_row(job))[:-1], age(job.created_at), row[-1]) for job in jobs]
    names = (*HEADER[:-1], "created", HEADER[-1])
    print_table(names, [names, *fields] if header else fields)


def state_of(listed: ListedJob) -> Cell:
    """A job's state as a sign and a word; of one that waits for a moment, the moment."""
    job = listed.job
    if listed.is_dead:
        return Cell("✗ no worker", "red")
    if listed.pause is not None:
        return Cell("‖ paused", "yellow")
    sign, word, style = STATES[job.status]
    if job.status is Status.PENDING and job.not_before is not None and job.not_before > time.time():
        word = show_moment_briefly(job.not_before)
    if job.exit_code == ExitCode.PARTIAL:
        style = PARTIAL_STYLE
    return Cell(f"{sign} {word}", style)


def _tell_until(job: Job) -> str:
    """Until when a waiting job may run; without a date if that is within a day of its start, as of a night."""
    if job.until is None:
        return ""
    begins = datetime.fromtimestamp(max(time.time(), job.not_before or 0.0)).astimezone()
    return f"until {show_moment_briefly(job.until, begins)}"


def notes_of(listed: ListedJob) -> tuple[str, ...]:
    """What to know of a job, from many words to few; of one that failed first what went wrong."""
    job = listed.job
    if listed.is_dead:
        remedy = f"kbjobs resume {job.id}"
        return f"{DEAD}; {remedy} goes on with it", f"{DEAD}: {remedy}", remedy
    if job.status is Status.PENDING and listed.pause is None:
        return (join(job.message, _tell_until(job)),)
    if not job.has_ended:
        return live_texts(job, listed.pause)
    if job.status is Status.COMPLETED:
        return (_describe_done(job),)
    return ((job.error or job.message).split("\n")[0],)


def _describe_done(job: Job) -> str:
    if len(job.phases) > 1:
        broken = [phase.name for phase in job.phases if phase.status == "failed"]
        failed = int((job.result or {}).get("failed") or 0)
        return join(
            f"{', '.join(broken)} failed" if broken else "",
            f"{failed:,} failed" if failed else "",
            counted(len(job.phases), "phase"),
        )
    return format_note(figures_of(job)) or job.message.split("\n")[0]


def describe_phase_end(job: Job, phase: PhaseState) -> str:
    """What a phase has done, in figures if it has some."""
    figures = find_figures(phase.job, phase.result, job.source, job.id)
    return phase.error or format_note(figures, 3) or phase_detail(phase)


def _cells(listed: ListedJob) -> tuple[Cell, ...]:
    job = listed.job
    notes = notes_of(listed)
    return (
        Cell(str(job.id)),
        Cell(job.type.replace("_", "-")),
        Cell(source_of(job) or NOTHING),
        state_of(listed),
        Cell(percentage(job.progress).rstrip("%") if job.status is not Status.PENDING or job.progress else NOTHING),
        Cell(duration(job.duration) if job.attempt else NOTHING),
        Cell(notes[0], shorter=notes[1:]),
    )


def _print_in_full(console: Console, listed: Sequence[ListedJob]) -> None:
    """Each job with its whole note and its phases below it; nothing is shortened."""
    from rich.text import Text

    indent = " " * (2 + max(len(str(one.job.id)) for one in listed))
    for one in listed:
        job, cells = one.job, _cells(one)
        share = "" if cells[4].text == NOTHING else f"{cells[4].text}%"
        taken = "" if cells[5].text == NOTHING else cells[5].text
        title = join(f"{cells[1].text} {source_of(job)}".rstrip(), share, taken)
        first, *rest = wrap(console, f"{cells[3].text}  {title}", console.width - len(indent))
        line = Text(f"{job.id:>{len(indent) - 2}}  {first}", "bold")
        line.stylize(cells[3].style, len(indent), len(indent) + len(cells[3].text))
        for drawn in (line, *(Text(indent + more, "bold") for more in rest)):
            print_line(console, drawn)
        for note in _full_notes(one):
            _print_wrapped(console, note, indent)
        if len(job.phases) > 1:
            _print_phases(console, job, indent)


def print_phases(job: Job) -> None:
    """Print the phases of a job, each with what it says of its end in full."""
    if is_terminal(sys.stdout):
        _print_phases(open_console(sys.stdout), job, "")
    else:
        print_table(PHASE_COLUMNS, [phase_row(phase) for phase in job.phases])


def _full_notes(listed: ListedJob) -> list[str]:
    job = listed.job
    if job.has_ended and not listed.is_dead:
        return [line for line in (job.error or job.message).split("\n") if line]
    return [live_texts(job, listed.pause)[0] if job.status is Status.PENDING else notes_of(listed)[0]]


def _print_phases(console: Console, job: Job, indent: str) -> None:
    from rich.text import Text

    for phase in job.phases:
        sign, word, style = STATES[phase.status]
        word = "done before" if phase.is_skipped else word
        taken = duration(phase.seconds) if phase.seconds is not None and not phase.is_skipped else ""
        facts = join(word, percentage(phase_progress(phase)), f"weight {phase.weight:.0f}%", taken)
        print_line(console, Text.assemble(indent, (sign, style), f" {clean(phase.name.replace('_', '-'))}: {facts}"))
        if detail := phase_detail(phase):
            _print_wrapped(console, detail, indent + "  ")


def _print_wrapped(console: Console, text: str, indent: str) -> None:
    from rich.text import Text

    for line in wrap(console, text, console.width - len(indent)):
        print_line(console, Text(indent + line))
