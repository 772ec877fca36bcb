"""``kbjobs interrupted``: what can be resumed."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.api import JobManager, get_job_manager
from kbjobs.commands._render import DEAD, age, percentage, print_json, print_table, say, source_of
from kbjobs.store.jobs import Job

app = typer.Typer(add_completion=False)


@app.command()
def interrupted(as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """What failed or was interrupted, or whose worker is dead, and can be resumed: age, progress, next phase.

    Example:  kbjobs interrupted
    """
    manager = get_job_manager()
    jobs = manager.get_resumable_jobs()
    if as_json:
        print_json([manager.as_dict(job) for job in jobs])
    elif jobs:
        rows = [
            (
                job.id,
                job.type.replace("_", "-"),
                source_of(job),
                str(job.status),
                age(job.finished_at or job.beat_at),
                percentage(job.progress),
                _next_phase(job),
                _reason(manager, job),
            )
            for job in jobs
        ]
        print_table(("job", "type", "source", "status", "ended", "done", "next phase", ""), rows)
        say("kbjobs resume JOB goes on with one, kbjobs resume --all with all.")
    else:
        say("Nothing to resume.")


def _reason(manager: JobManager, job: Job) -> str:
    if manager.is_worker_dead(job):
        return DEAD
    return ((job.error or job.message).splitlines() or [""])[0]


def _next_phase(job: Job) -> str:
    return next((phase.name for phase in job.phases if not phase.is_completed), "").replace("_", "-")
