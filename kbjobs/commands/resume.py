"""``kbjobs resume``: go on with jobs that ended early."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.api import get_job_manager
from kbjobs.commands._following import ProgressMode, follow
from kbjobs.commands._render import say
from kbjobs.commands._times import parse_duration, parse_moment
from kbjobs.errors import UsageError
from kbjobs.store.jobs import Limits

app = typer.Typer()


@app.command()
def resume(
    jobs: Annotated[list[int] | None, typer.Argument(help="Ids of the jobs.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="All that failed or were interrupted.")] = False,
    until: Annotated[str | None, typer.Option(help="Stop at a checkpoint then.", metavar="TIME")] = None,
    timeout: Annotated[str | None, typer.Option(help="Stop after so much work.", metavar="DURATION")] = None,
    not_before: Annotated[str | None, typer.Option(help="Wait until then.", metavar="TIME")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return at once.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
) -> None:
    """Go on with jobs that failed, were cancelled or interrupted, from what is saved, and follow them.

    Example:  kbjobs resume --all --until 06:00
    """
    if bool(jobs) == every:
        raise UsageError("name jobs, or give --all", "For example: kbjobs resume 12")
    manager = get_job_manager()
    ids = jobs or [job.id for job in manager.get_resumable_jobs()]
    if not ids:
        say("Nothing to resume.")
        return
    limits = None
    if until or timeout or not_before:
        limits = Limits(
            parse_moment(not_before) if not_before else None,
            parse_moment(until) if until else None,
            parse_duration(timeout) if timeout else None,
        )
    for job_id in ids:
        manager.resume(job_id, limits)
    if detach:
        say(f"queued: {' '.join(str(job_id) for job_id in ids)}")
        return
    mode = ProgressMode.JSON if as_json else ProgressMode.AUTO
    raise typer.Exit(follow(manager, ids, mode, revive=True))
