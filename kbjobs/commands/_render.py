"""Tables, times and JSON as the commands print them. Data goes to stdout, messages to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from kbjobs.commands._errors import printable
from kbjobs.store.jobs import Job

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
    print(printable(text), file=sys.stderr)


def is_terminal() -> bool:
    """Whether stdout is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], styles: Sequence[str] = ()) -> None:
    """A table on a terminal; off one, the same as plain tab-separated lines without a header."""
    if not is_terminal():
        for row in rows:
            print("\t".join(printable(str(cell)).replace("\n", " ") for cell in row))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[Text(printable(str(cell)), style=STYLES.get(str(cell), "")) for cell in row])
    Console().print(table)


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them: 4.2s, 3m 20s, 2h 05m."""
    if seconds is None:
        return "—"
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"


def age(moment: str | None) -> str:
    """How long ago a time of the state was."""
    if moment is None:
        return "—"
    then = datetime.fromisoformat(moment)
    return duration(max(0.0, (datetime.now(UTC) - then).total_seconds())) + " ago"


def job_row(job: Job) -> tuple[str, ...]:
    """A job as a row of a table with the columns JOB_COLUMNS."""
    share = f"{job.progress:.0f}%" if job.status != "pending" or job.progress else ""
    detail = (job.error or job.message).split("\n")[0] if job.has_ended else describe_phase(job)
    taken = duration(job.duration) if job.attempt else "—"
    return (str(job.id), job.type.replace("_", "-"), job.source or "", str(job.status), share, taken, detail)


JOB_COLUMNS = ("job", "type", "source", "status", "done", "time", "")


def describe_phase(job: Job) -> str:
    """What a live job is doing: message, counts, rate and time left."""
    if job.phase is None or not job.phase["total"]:
        return job.message
    phase = job.phase
    text = f"{job.message}: {phase['current']:,}/{phase['total']:,} {phase['unit']}"
    if phase.get("rate"):
        text += f", {phase['rate']:g}/s"
    if job.eta is not None:
        text += f", {duration(job.eta)} left"
    return text
