"""``kbjobs watch``: live progress."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._completion import complete_jobs
from kbjobs.commands._following import PROGRESS, ProgressMode, choose_mode, watch_jobs
from kbjobs.services.jobs import get_job_manager

app = App()


@app.command()
def watch(
    job: Annotated[
        int | None,
        typer.Argument(
            metavar="[JOB]",
            help="Id of the job (default: all live jobs).",
            show_default=False,
            autocompletion=complete_jobs,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Show live progress. Ctrl-C closes the display; the jobs keep running. Starts the daemon if none is running.

    Example:  kbjobs watch 12
    """
    raise typer.Exit(watch_jobs(get_job_manager(), job, choose_mode(as_json, False, progress)))
