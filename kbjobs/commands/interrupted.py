"""``kbjobs interrupted``: what can be resumed."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import DEAD, age, percentage, print_json, print_table, say, source_of
from kbjobs.commands.discard import discard_jobs
from kbjobs.services.jobs import JobManager, get_job_manager
from kbjobs.store.jobs import Job

app = App()


@app.command()
def interrupted(
    discard: Annotated[
        list[int] | None,
        typer.Option(help="As kbjobs discard JOB.", metavar="JOB", show_default=False, hidden=True),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """List the jobs that can be resumed: those that failed, were interrupted or lost their worker.

    "kbjobs resume JOB" continues a job, "kbjobs discard JOB" gives it up.

    Example:  kbjobs interrupted
    """
    if discard:
        discard_jobs(discard, as_json=as_json)
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
        say("kbjobs resume JOB resumes one, kbjobs resume --all resumes all.")
    else:
        say("Nothing to resume.")


def _reason(manager: JobManager, job: Job) -> str:
    if manager.is_worker_dead(job):
        return DEAD
    return ((job.error or job.message).splitlines() or [""])[0]


def _next_phase(job: Job) -> str:
    return next((phase.name for phase in job.phases if not phase.is_completed), "").replace("_", "-")
