"""``kbjobs retry``: run ended jobs again."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.api import get_job_manager
from kbjobs.commands._following import ProgressMode, follow
from kbjobs.commands._render import say

app = typer.Typer()


@app.command()
def retry(
    jobs: Annotated[list[int], typer.Argument(help="Ids of the jobs.", show_default=False)],
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return at once.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
) -> None:
    """Run ended jobs again from the start, under their ids, and follow them.

    Example:  kbjobs retry 12
    """
    manager = get_job_manager()
    for job_id in jobs:
        manager.retry(job_id)
    if detach:
        say(f"queued: {' '.join(str(job_id) for job_id in jobs)}")
        return
    mode = ProgressMode.JSON if as_json else ProgressMode.AUTO
    raise typer.Exit(follow(manager, jobs, mode, revive=True))
