"""How a job has ended: a block of lines on a terminal, one line elsewhere."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING

from kbjobs.commands._errors import discard, name_help, printable
from kbjobs.commands._figures import Figure, figures_of
from kbjobs.commands._job_table import STATES, ListedJob, describe_phase_end, state_of
from kbjobs.commands._render import is_terminal, open_console, say, title
from kbjobs.commands._table import clean, measure, pad, print_line, shorten, wrap
from kbjobs.formatting import duration
from kbjobs.store.jobs import Job
from kbjobs.store.transitions import Status

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

BLOCK_WIDTH = 80  # cells: beyond that the facts on the right would be lost
INDENT = "  "


def summary(job: Job) -> str:
    """One line on how a job ended, and if it did not end well, what to do."""
    text = f"job {job.id} {title(job)}: {job.status}"
    text += f" in {duration(job.duration)}" if job.attempt else ""
    text += f" after {job.attempt} attempts" if job.attempt > 1 else ""
    reason = _reason(job)
    text += f": {reason}" if reason else ""
    return "\n".join(filter(None, (text, _next_step(job), _help(job))))


def print_summary(job: Job) -> None:
    """Print how a job ended as one line: on stdout if it was completed, else on stderr."""
    if job.status is not Status.COMPLETED:
        say(summary(job))
        return
    try:
        print(printable(summary(job)), flush=True)
    except BrokenPipeError:  # the job still has an exit code to give
        discard(sys.stdout)


def print_end(job: Job) -> None:
    """Print how a job ended as a block of lines, if the stream for it is a terminal; else as one line."""
    stream = ending_stream(job)
    if is_terminal(stream):
        _print_block(open_console(stream), job)
    else:
        print_summary(job)


def ending_stream(job: Job) -> IO[str]:
    """Where it is printed how the job ended: stdout if it was completed, else stderr."""
    return sys.stdout if job.status is Status.COMPLETED else sys.stderr


def _reason(job: Job) -> str:
    """Why a job failed or was interrupted, else what it says of its end, if that is more than its status."""
    if job.status is Status.FAILED:
        return job.error or job.message
    told = (job.error if job.status is Status.INTERRUPTED else None) or job.message
    return "" if told == str(job.status) else told


def _next_step(job: Job) -> str:
    can_resume = job.status in (Status.CANCELLED, Status.INTERRUPTED)
    can_resume = can_resume or (job.status is Status.FAILED and len(job.phases) > 1)
    return f"Continue with kbjobs resume {job.id}." if can_resume else ""


def _help(job: Job) -> str:
    return "" if job.status is Status.COMPLETED else name_help(_reason(job))


def _advice(job: Job) -> list[str]:
    """What the message of a completed job advises: its parts, after the first, that name an option or a command."""
    return [part for part in job.message.split("; ")[1:] if " --" in f" {part}" or "kbjobs " in part]


def _print_block(console: Console, job: Job) -> None:
    from rich.text import Text

    width = min(console.width, BLOCK_WIDTH)
    _print_heading(console, job, width)
    is_chain, is_done = len(job.phases) > 1, job.status is Status.COMPLETED
    if is_chain:
        _print_phases(console, job, width)
    figures = _figures(job) if is_done else []
    for line in _figure_lines(console, figures, width):
        print_line(console, line)
    is_told = is_done and (is_chain or bool(figures))
    for sentence in _advice(job) if is_told else filter(None, [*_reason(job).split("\n"), _next_step(job), _help(job)]):
        for part in wrap(console, sentence, width - len(INDENT)):
            print_line(console, Text(INDENT + part))


def _figures(job: Job) -> list[Figure]:
    """The figures of a completed job; of a chain, whose phases have theirs, only how many documents failed."""
    if len(job.phases) < 2:
        return figures_of(job)
    failed = (job.result or {}).get("failed")
    return [Figure("failed", f"{failed:,}", f"kbjobs logs {job.id}", is_failure=True)] if failed else []


def _print_heading(console: Console, job: Job, width: int) -> None:
    """The sign and the title; on the right the job's id, its time and its attempts."""
    from rich.text import Text

    state = state_of(ListedJob(job))
    taken = duration(job.duration) if job.attempt else ""
    attempts = f"{job.attempt} attempts" if job.attempt > 1 else ""
    facts = ", ".join(filter(None, (f"job {job.id}", taken, attempts)))
    room = width - len(facts) - 4
    name = pad(shorten(clean(title(job)), room), room)
    print_line(console, Text.assemble((state.text[0], state.style), " ", (name, "bold"), "  ", facts))


def _print_phases(console: Console, job: Job, width: int) -> None:
    """A line for each phase that has ended: what it has done, in figures if it has some."""
    from rich.text import Text

    ended = [phase for phase in job.phases if phase.status in ("completed", "failed", "cancelled")]
    names = [clean(phase.name.replace("_", "-")) for phase in ended]
    room = min(max(map(measure, names), default=0), width // 3)
    for name, phase in zip(names, ended, strict=True):
        sign, _, style = STATES[phase.status]
        taken = "before" if phase.is_skipped else duration(phase.seconds)
        left = width - len(INDENT) - 2 - room - 2 - 2 - len(taken)
        done = pad(shorten(clean(describe_phase_end(job, phase)), left), left)
        print_line(console, Text.assemble(INDENT, (sign, style), f" {pad(shorten(name, room), room)}  {done}  {taken}"))


def _figure_lines(console: Console, figures: list[Figure], width: int) -> list[Text]:
    """Name, number and detail of each figure, in columns; a detail that is too long goes on below itself."""
    from rich.text import Text

    names = max((len(one.name) for one in figures), default=0)
    values = max((len(one.value) for one in figures), default=0)
    start = len(INDENT) + names + 2 + values + 3
    lines = []
    for one in figures:
        first, *rest = wrap(console, one.detail, width - start) or [""]
        style = "red" if one.is_failure else ""
        head = f"{INDENT}{one.name:<{names}}  "
        lines.append(Text.assemble(head, (f"{one.value:>{values}}", style), f"   {first}"))
        lines += [Text(" " * start + more) for more in rest]
    return lines
