"""``kbjobs cancel``: stop jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import SOME_JOBS
from kbjobs.commands._completion import complete_sources
from kbjobs.commands._render import print_json, say
from kbjobs.commands._several import do_to_each
from kbjobs.errors import UsageError
from kbjobs.services.jobs import get_job_manager
from kbjobs.store.transitions import Status

app = App()


@app.command()
def cancel(
    jobs: SOME_JOBS = None,
    source: Annotated[
        str | None,
        typer.Option(help="Stop all live jobs of this source.", metavar="ID", autocompletion=complete_sources),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Stop all live jobs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Stop jobs. What they have done is kept, and the request survives a crash.

    If one of several jobs cannot be cancelled, the others are; the exit code is the worst.

    Example:  kbjobs cancel 12
    """
    if sum((bool(jobs), source is not None, every)) != 1:
        raise UsageError("name jobs, or give one of --source ID and --all", "For example: kbjobs cancel 12")
    manager = get_job_manager()
    manager.check_filters(source_id=source)
    ids = jobs or [job.id for job in manager.get_active_jobs(source)]
    done = do_to_each(ids, manager.cancel)
    if as_json:
        print_json([job.as_dict() for job in done.jobs])
        raise typer.Exit(done.code)
    for job in done.jobs:
        say(
            f"job {job.id} is cancelled."
            if job.status is Status.CANCELLED
            else f"job {job.id} will stop at its next checkpoint; kbjobs wait {job.id} waits for that."
        )
    if not ids:
        say("No job is running or waiting.")
    raise typer.Exit(done.code)
