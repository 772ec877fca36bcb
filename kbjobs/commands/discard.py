"""``kbjobs discard``: give up jobs that could be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import JOBS
from kbjobs.commands._render import print_json, say
from kbjobs.commands._several import do_to_each
from kbjobs.services.jobs import get_job_manager

app = App()


@app.command()
def discard(
    jobs: JOBS,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Give up jobs that failed or were interrupted, and delete their checkpoints.

    A discarded job counts as cancelled and is no longer listed by "kbjobs interrupted". The documents and vectors that
    it has made are kept.

    Example:  kbjobs discard 12
    """
    discard_jobs(jobs, as_json=as_json)


def discard_jobs(jobs: Sequence[int], *, as_json: bool) -> None:
    """Discard each job and say so.

    Args:
        jobs: ids of jobs.
        as_json: whether to print JSON.

    Raises:
        typer.Exit: always, with the worst exit code.
    """
    done = do_to_each(jobs, get_job_manager().discard)
    if as_json:
        print_json([job.as_dict() for job in done.jobs])
    for job in done.jobs if not as_json else ():
        say(f"Job {job.id} is discarded. What it has done is kept.")
    raise typer.Exit(done.code)
