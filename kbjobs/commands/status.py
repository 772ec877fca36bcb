"""``kbjobs status``: what runs, waits and has just ended."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from kbjobs.commands._render import (
    DEAD,
    JOB_COLUMNS,
    PHASE_COLUMNS,
    age,
    describe_phase,
    describe_window,
    job_row,
    phase_row,
    print_json,
    print_table,
    say,
    title,
)
from kbjobs.formatting import duration, sentence
from kbjobs.services.jobs import JobManager, get_job_manager
from kbjobs.store.jobs import Job
from kbjobs.store.pauses import Pause

RECENT = 10  # ended jobs that are shown beside the live ones

app = typer.Typer(add_completion=False)


@app.command()
def status(
    job: Annotated[int | None, typer.Argument(help="Everything about this job.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """What runs, waits and has just ended; or everything about one job.

    Example:  kbjobs status 12 --json
    """
    manager = get_job_manager()
    if job is not None:
        _show_job(manager, job, as_json)
        return
    daemon = manager.get_daemon()
    jobs = manager.get_active_jobs()
    recent = manager.get_just_ended_jobs(RECENT)
    if as_json:
        dimensions = manager.get_dimension_status()
        listed = [manager.as_dict(one) for one in [*jobs, *recent]]
        pauses = [asdict(one) for one in manager.get_pauses()]
        print_json({"daemon": asdict(daemon), "jobs": listed, "dimensions": dimensions, "pauses": pauses})
        return
    if daemon.running:
        say(f"Daemon {daemon.pid} runs, kbjobs {daemon.version}, started {age(daemon.started_at)}.")
    else:
        say("No daemon runs; the next submit, resume or wait starts one." if jobs else "No daemon runs.")
    for pause in manager.get_pauses():
        say(sentence(f"{pause.what} is paused since {pause.since} ({age(pause.since)}); {pause.remedy} ends that"))
    if jobs or recent:
        held = manager.get_held_jobs()
        shown = [*jobs, *recent]
        print_table(JOB_COLUMNS, [job_row(one, manager.is_worker_dead(one), held.get(one.id)) for one in shown])
    else:
        say("No jobs. Begin with kbjobs sources add ID PATH, or try kbjobs demo.")


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
    message, _, hint = (job.error or job.message).strip().partition("\n")
    rows: list[tuple[str, str]] = [
        ("job", f"{job.id}  {title(job)}"),
        ("status", str(job.status) + _more_of_status(job, is_dead, manager.get_held_jobs().get(job_id))),
        ("source", f"deleted on {job.source_deleted_at}" if job.source_deleted_at else ""),
        ("progress", f"{job.shown_progress:.1f}%  {'' if job.has_ended else describe_phase(job)}".rstrip()),
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
        print_table(PHASE_COLUMNS, [phase_row(phase) for phase in job.phases])
    if job.attempt:
        say(f"kbjobs logs {job_id} shows its log.")
