"""``kbjobs edit``: change a job that waits."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import JOB
from kbjobs.commands._render import print_json, say
from kbjobs.commands._times import read_moments, show_moment
from kbjobs.services.jobs import get_job_manager
from kbjobs.store.edits import JobChanges
from kbjobs.store.jobs import MAX_PRIORITY

app = App()

NONE = "none"


@app.command()
def edit(
    job: JOB,
    priority: Annotated[
        int | None,
        typer.Option(min=-MAX_PRIORITY, max=MAX_PRIORITY, help="Higher runs first; each hour of waiting adds one."),
    ] = None,
    not_before: Annotated[
        str | None, typer.Option(help="Start no earlier: 22:00, +2h; none: start as soon as possible.", metavar="TIME")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Stop at a checkpoint at this time; none: run to the end.", metavar="TIME")
    ] = None,
    retries: Annotated[int | None, typer.Option(min=0, max=100, help="Retries after a transient error.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Change a waiting job; options that are not given stay. To change a running job, cancel it and resume it with new
    limits.

    Example:  kbjobs edit 12 --priority 5

    Example:  kbjobs edit 12 --not-before 22:00 --until 06:00

    Example:  kbjobs edit 12 --until none
    """
    manager = get_job_manager()
    now = manager.get_status(job)
    changes = JobChanges()
    if priority is not None:
        changes["priority"] = priority
    if retries is not None:
        changes["retries"] = retries
    begins = now.not_before if not_before is None else None
    start, end = read_moments(_given(not_before), _given(until), begins=begins)
    if not_before:
        changes["not_before"] = start
    if until:
        changes["until"] = end
    changed = manager.edit(job, changes)
    if as_json:
        print_json(manager.as_dict(changed))
        return
    say(
        f"job {job} waits with priority {changed.priority}, --not-before {show_moment(changed.not_before)},"
        f" --until {show_moment(changed.until)}, --retries {changed.retries}."
    )


def _given(moment: str | None) -> str | None:
    return None if moment is None or moment.strip().lower() == NONE else moment
