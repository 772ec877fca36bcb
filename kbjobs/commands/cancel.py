"""``kbjobs cancel``: stop jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.api import get_job_manager
from kbjobs.commands._render import say
from kbjobs.errors import UsageError
from kbjobs.store.transitions import Status

app = typer.Typer()


@app.command()
def cancel(
    jobs: Annotated[list[int] | None, typer.Argument(help="Ids of the jobs.", show_default=False)] = None,
    source: Annotated[str | None, typer.Option(help="All live jobs of this source.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All live jobs.")] = False,
) -> None:
    """Stop jobs; what they have done is kept. The wish outlives a crash.

    Example:  kbjobs cancel 12
    """
    if sum((bool(jobs), source is not None, every)) != 1:
        raise UsageError("name jobs, or give one of --source ID and --all", "For example: kbjobs cancel 12")
    manager = get_job_manager()
    ids = jobs or [job.id for job in manager.get_active_jobs(source)]
    for job_id in ids:
        job = manager.cancel(job_id)
        say(
            f"job {job.id} is cancelled."
            if job.status is Status.CANCELLED
            else f"job {job.id} is told to stop at its next checkpoint; kbjobs wait {job.id} waits for that."
        )
    if not ids:
        say("Nothing runs and nothing waits.")
