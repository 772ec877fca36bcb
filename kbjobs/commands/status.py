"""``kbjobs status``: what runs, waits and has just ended."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._completion import complete_jobs
from kbjobs.commands._job_table import ListedJob, print_jobs, print_phases
from kbjobs.commands._progress_text import progress_texts
from kbjobs.commands._render import (
    DEAD,
    age,
    describe_phase,
    describe_window,
    is_terminal,
    print_json,
    print_table,
    say,
    title,
)
from kbjobs.config.home import current_home
from kbjobs.errors import UsageError
from kbjobs.formatting import counted, duration, sentence
from kbjobs.services.job_queries import DaemonState
from kbjobs.services.jobs import JobManager, get_job_manager
from kbjobs.store.jobs import Job
from kbjobs.store.pauses import Pause
from kbjobs.store.transitions import Status
from kbjobs.version import VERSION

RECENT = 10  # ended jobs that are shown beside the live ones
LINE = 80  # cells of the line below the table, at most

app = App()


@app.command()
def status(
    job: Annotated[
        int | None,
        typer.Argument(metavar="[JOB]", help="Id of one job.", show_default=False, autocompletion=complete_jobs),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show notes in full, and the phases of each job.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show live progress, like kbjobs watch.")] = False,
    header: Annotated[
        bool, typer.Option("--header", help="Print the names of the columns, even if stdout is not a terminal.")
    ] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print numbers for a monitoring system, as OpenMetrics text.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="With --metrics: write them to this file, whole or not at all."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show what is running, waiting and just ended, or everything about one job.

    On a terminal, each job is one line, as wide as the terminal. Elsewhere, columns are separated by tabs and nothing
    is shortened.

    Example:  kbjobs status 12 --json

    Example:  kbjobs status -v

    Example:  kbjobs status --metrics -o /var/lib/node_exporter/kbjobs.prom
    """
    if metrics or output is not None:
        _write_metrics(output, is_asked=metrics)
        return
    manager = get_job_manager()
    if watch:
        from kbjobs.commands._following import ProgressMode, choose_mode, watch_jobs

        raise typer.Exit(watch_jobs(manager, job, choose_mode(as_json, False, ProgressMode.AUTO)))
    if job is not None:
        _show_job(manager, job, as_json)
        return
    jobs = manager.get_active_jobs()
    recent = manager.get_just_ended_jobs(RECENT)
    if as_json:
        dimensions = manager.get_dimension_status()
        listed = [manager.as_dict(one) for one in [*jobs, *recent]]
        pauses = [asdict(one) for one in manager.get_pauses()]
        daemon = asdict(manager.get_daemon())
        print_json({"daemon": daemon, "jobs": listed, "dimensions": dimensions, "pauses": pauses})
        return
    _show_jobs(manager, jobs, recent, header=header, verbose=verbose)


def _write_metrics(output: Path | None, *, is_asked: bool) -> None:
    from kbjobs.services.metrics import describe_metrics, write_metrics

    if not is_asked:
        raise UsageError("-o was given without --metrics", "For example: kbjobs status --metrics -o kbjobs.prom")
    if output is None:
        print(describe_metrics(current_home()), end="")
    else:
        write_metrics(current_home(), output.absolute())


def _show_jobs(manager: JobManager, jobs: Sequence[Job], recent: Sequence[Job], *, header: bool, verbose: bool) -> None:
    daemon, shown, on_terminal = manager.get_daemon(), [*jobs, *recent], is_terminal(sys.stdout)
    if not on_terminal or not shown:
        say(_describe_daemon(daemon, bool(jobs)))
    for pause in manager.get_pauses():
        say(
            sentence(f"{pause.what} has been paused since {pause.since} ({age(pause.since)}); {pause.remedy} ends that")
        )
    if not shown:
        say("No jobs yet. Start with kbjobs sources add ID PATH, or try kbjobs demo.")
        return
    held = manager.get_held_jobs()
    listed = [ListedJob(one, manager.is_worker_dead(one), held.get(one.id)) for one in shown]
    print_jobs(listed, header=header, verbose=verbose)
    if on_terminal:
        sys.stdout.flush()
        failed = next((one for one in recent if one.status is Status.FAILED), shown[0])
        hint = f"kbjobs status {failed.id} shows a job in full."
        about = _describe_daemon(daemon, bool(jobs)) if verbose else _describe_slots(manager, daemon, jobs)
        _say_both(about, hint)


def _describe_daemon(daemon: DaemonState, has_jobs: bool) -> str:
    if daemon.running:
        return f"Daemon {daemon.pid} runs, kbjobs {daemon.version}, started {age(daemon.started_at)}."
    return "No daemon is running; submit, resume and wait start one." if has_jobs else "No daemon is running."


def _describe_slots(manager: JobManager, daemon: DaemonState, jobs: Sequence[Job]) -> str:
    """Whether the daemon runs, and how many of the jobs that may run at the same time do."""
    if not daemon.running:
        return _describe_daemon(daemon, bool(jobs))
    busy = sum(job.status is Status.RUNNING for job in jobs)
    other = f" (kbjobs {daemon.version})" if daemon.version != VERSION else ""
    return f"Daemon: running{other}, {busy} of {counted(manager.settings.integer('workers'), 'slot')} busy."


def _say_both(left: str, right: str) -> None:
    """Two sentences on one line if the terminal is wide enough, else on two."""
    width = min(shutil.get_terminal_size().columns, LINE)
    gap = width - len(left) - len(right)
    say(f"{left}{' ' * gap}{right}" if gap >= 2 else f"{left}\n{right}")


def _more_of_status(job: Job, is_dead: bool, pause: Pause | None) -> str:
    if pause is not None:
        return f", {pause.what} is paused: it waits for {pause.remedy}"
    if job.pause_requested:
        return ", asked to stop at the next checkpoint: it is paused"
    if is_dead:
        return f", but {DEAD}; kbjobs resume {job.id} goes on with it"
    return "" if job.exit_code is None else f", exit code {job.exit_code}"


def _show_job(manager: JobManager, job_id: int, as_json: bool) -> None:
    job = manager.get_status(job_id)
    if as_json:
        print_json(manager.as_dict(job))
        return
    is_dead = manager.is_worker_dead(job)
    doing = "" if job.has_ended else progress_texts(job)[0] if is_terminal(sys.stdout) else describe_phase(job)
    message, _, hint = (job.error or job.message).strip().partition("\n")
    rows: list[tuple[str, str]] = [
        ("job", f"{job.id}  {title(job)}"),
        ("status", str(job.status) + _more_of_status(job, is_dead, manager.get_held_jobs().get(job_id))),
        ("source", f"deleted on {job.source_deleted_at}" if job.source_deleted_at else ""),
        ("progress", f"{job.shown_progress:.1f}%  {doing}".rstrip()),
        ("message", message),
        ("next step", hint),
        (
            "parameters",
            ", ".join(f"{name}={value}" for name, value in job.params.items() if value is not None),
        ),
        ("limits", describe_window(job)),
        ("created", f"{job.created_at} ({age(job.created_at)})"),
        ("time", duration(job.duration)),
    ]
    if job.result:
        rows.append(("result", ", ".join(f"{name} {value}" for name, value in job.result.items())))
    rows.extend(
        (
            f"attempt {attempt.attempt}",
            f"{attempt.started_at} – {attempt.finished_at or ''}: {attempt.outcome or 'running'}"
            + (f" ({attempt.error.splitlines()[0]})" if attempt.error else ""),
        )
        for attempt in manager.get_attempts(job_id)
    )
    print_table(("", ""), [row for row in rows if row[1]])
    if len(job.phases) > 1:
        print_phases(job)
    if job.attempt:
        say(f"kbjobs logs {job_id} shows its log.")
