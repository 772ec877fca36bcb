"""``kbjobs wait``: block until jobs have ended."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.api import get_job_manager
from kbjobs.commands._following import ProgressMode, follow

app = typer.Typer(add_completion=False)


@app.command()
def wait(
    jobs: Annotated[list[int], typer.Argument(help="Ids of the jobs.", show_default=False)],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
) -> None:
    """Block until jobs have ended; exit with the worst of their codes. Starts the daemon where none runs.

    Example:  kbjobs wait 12 13 && kbjobs run index-offline wiki
    """
    manager = get_job_manager()
    for job in jobs:
        manager.get_status(job)
    mode = ProgressMode.JSON if as_json else ProgressMode.NONE if quiet else ProgressMode.PLAIN
    raise typer.Exit(follow(manager, list(dict.fromkeys(jobs)), mode, revive=True))
