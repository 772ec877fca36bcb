"""Tables, times and JSON as the commands print them. Data goes to stdout, messages to stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import typer

from kbjobs.commands._errors import print_message, printable
from kbjobs.commands._times import show_moment
from kbjobs.errors import ExitCode, KbjobsError
from kbjobs.formatting import duration
from kbjobs.store.jobs import Job
from kbjobs.store.pauses import Pause
from kbjobs.store.phase_state import PhaseState
from kbjobs.store.transitions import Status

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "interrupted": "red",
    "cancelled": "yellow",
    "pending": "",
}


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def say(text: str) -> None:
    """A message for a person, on stderr."""
    print_message(text)


class DamagedSources:
    """Names each damaged source on stderr as it is met; at the end the command exits 3 if there was one."""

    def __init__(self) -> None:
        self._met = False

    def __call__(self, source_id: str, error: KbjobsError) -> None:
        self._met = True
        say(f"Left out: source {source_id}: {error.message}")

    @property
    def code(self) -> ExitCode:
        """The exit code that tells whether a source was left out."""
        return ExitCode.PARTIAL if self._met else ExitCode.DONE

    def end(self) -> None:
        """Exit with 3 where a source was left out."""
        if self._met:
            raise typer.Exit(self.code)


def is_terminal(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that can be drawn on."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def open_console(stream: IO[str]) -> Console:
    """A console for drawing on a terminal; without colours where NO_COLOR is set (no-color.org)."""
    from rich.console import Console

    return Console(file=stream, color_system=None if os.environ.get("NO_COLOR") else "auto")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on a terminal; off one, the same as plain tab-separated lines without a header."""
    if not is_terminal(sys.stdout):
        for row in rows:
            print("\t".join(printable(str(cell)).replace("\n", " ") for cell in row))
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    has_header = any(columns)
    table = Table(box=SIMPLE_HEAD if has_header else None, show_header=has_header, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[Text(printable(str(cell)), style=STYLES.get(str(cell), "")) for cell in row])
    open_console(sys.stdout).print(table)


def age(moment: str | None) -> str:
    """How long ago a time of the state was."""
    if moment is None:
        return "—"
    then = datetime.fromisoformat(moment)
    return duration(max(0.0, (datetime.now(UTC) - then).total_seconds())) + " ago"


def title(job: Job) -> str:
    """The job's type, and its source if it has one."""
    return " ".join(filter(None, (job.type.replace("_", "-"), job.source)))


def job_row(job: Job, is_dead: bool = False, pause: Pause | None = None) -> tuple[str, ...]:
    """Format a job as a table row with the columns JOB_COLUMNS.

    Args:
        job: the job.
        is_dead: whether its worker has died without recording an end.
        pause: the pause that holds the job, if any.
    """
    share = percentage(job.progress) if job.status != "pending" or job.progress else ""
    detail = (job.error or job.message).split("\n")[0] if job.has_ended else describe_phase(job)
    detail = f"{DEAD}; kbjobs resume {job.id} goes on with it" if is_dead else detail
    detail = f"waits for {pause.remedy}" if pause is not None else detail
    if job.status is Status.PENDING:
        detail = ", ".join(filter(None, (detail, describe_window(job))))
    taken = duration(job.duration) if job.attempt else "—"
    return (str(job.id), job.type.replace("_", "-"), source_of(job), str(job.status), share, taken, detail)


def describe_window(job: Job) -> str:
    """Before when a waiting job does not begin, and until when it or a running one may work; '' for no limit."""
    parts = []
    if job.status is Status.PENDING and job.not_before is not None and job.not_before > time.time():
        parts.append(f"not before {show_moment(job.not_before)}")
    if job.until is not None and not job.has_ended:
        parts.append(f"until {show_moment(job.until)}")
    return ", ".join(parts)


def source_of(job: Job) -> str:
    """The job's source, and that it is deleted, for a table; '' if it has none."""
    return f"{job.source} (deleted)" if job.source and job.source_deleted_at else job.source or ""


DEAD = "its worker is dead"

JOB_COLUMNS = ("job", "type", "source", "status", "done", "time", "")


PHASE_COLUMNS = ("phase", "status", "done", "weight", "time", "")


def phase_row(phase: PhaseState) -> tuple[str, ...]:
    """A phase of a job as a row of a table with the columns PHASE_COLUMNS."""
    name = phase.name.replace("_", "-")
    taken = duration(phase.seconds) if phase.seconds is not None and not phase.is_skipped else ""
    status = "done before" if phase.is_skipped else str(phase.status)
    return (name, status, percentage(phase_progress(phase)), f"{phase.weight:.0f}%", taken, phase_detail(phase))


def phase_detail(phase: PhaseState) -> str:
    """How a phase ended, for people."""
    return phase.error or phase.summary or ""


def phase_progress(phase: PhaseState) -> float:
    """How much of a phase is done, in percent."""
    return 100.0 if phase.is_completed else phase.progress or 0.0


def percentage(progress: float) -> str:
    """Whole percent, rounded down: nothing is at 100 before its end."""
    return f"{int(progress)}%"


def describe_phase(job: Job) -> str:
    """What a live job is doing: message, counts, rate and time left."""
    parts = [describe_counts(job), describe_rate(job), describe_time_left(job)]
    return ", ".join(part for part in parts if part)


def describe_counts(job: Job) -> str:
    """Message and counts of the running phase."""
    if not has_counts(job):
        return job.message
    counts = format_counts(job)
    return f"{job.message}: {counts}" if job.message else counts


def has_counts(job: Job) -> bool:
    """Whether the running phase counts anything: 0 of 1 is a step without a measure."""
    return job.phase is not None and job.phase.total > 1


def format_counts(job: Job) -> str:
    """How many units of the running phase are done, of how many; bytes as MB."""
    phase = job.phase
    if phase is None:
        return ""
    if phase.unit == "bytes":
        return f"{phase.current / 1e6:,.1f}/{phase.total / 1e6:,.1f} MB"
    return f"{phase.current:,}/{phase.total:,} {phase.unit}"


def describe_rate(job: Job) -> str:
    """Units a second, where the running phase has measured it."""
    rate = job.phase.rate if job.phase else None
    if not rate:
        return ""
    if job.phase is not None and job.phase.unit == "bytes":
        return f"{rate / 1e6:,.1f} MB/s"
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:g}/s"


def describe_time_left(job: Job) -> str:
    """Time left, if it is known."""
    return "" if job.eta is None or job.has_ended else f"{duration(job.eta)} left"
