"""``kbjobs watch``: live progress."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._following import PROGRESS, ProgressMode, choose_mode, follow
from kbjobs.commands._render import say
from kbjobs.services.jobs import get_job_manager

app = typer.Typer(add_completion=False)


@app.command()
def watch(
    job: Annotated[int | None, typer.Argument(help="Default: all live jobs.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Live progress; leaving it never touches the job. Starts the daemon where none runs.

    Example:  kbjobs watch 12
    """
    manager = get_job_manager()
    jobs = [manager.get_status(job)] if job is not None else manager.get_active_jobs()
    if not jobs:
        say("Nothing runs and nothing waits.")
        return
    is_live = not all(one.has_ended for one in jobs)
    raise typer.Exit(follow(manager, [one.id for one in jobs], choose_mode(as_json, False, progress), revive=is_live))
