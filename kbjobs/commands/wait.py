"""``kbjobs wait``: block until jobs have ended."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import JOBS
from kbjobs.commands._following import QUIET, ProgressMode, choose_mode, follow
from kbjobs.commands._times import parse_duration
from kbjobs.services.jobs import get_job_manager

app = App()


@app.command()
def wait(
    jobs: JOBS,
    quiet: QUIET = False,
    timeout: Annotated[str | None, typer.Option(help="Wait at most this long: 90s, 2h.", metavar="DURATION")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
) -> None:
    """Wait until jobs have ended, and exit with the worst of their codes. Starts the daemon if none is running.

    With --timeout, the exit code is 8 if they have not ended in time. The jobs keep running.

    Example:  kbjobs wait 12 13 && kbjobs run index-offline wiki

    Example:  kbjobs wait 12 --timeout 2h
    """
    seconds = parse_duration(timeout) if timeout is not None else math.inf
    manager = get_job_manager()
    for job in jobs:
        manager.get_status(job)
    mode = choose_mode(as_json, quiet, ProgressMode.PLAIN)
    raise typer.Exit(follow(manager, list(dict.fromkeys(jobs)), mode, revive=True, seconds=seconds))
