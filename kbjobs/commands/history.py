"""``kbjobs history``: jobs that have been."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._completion import complete_sources
from kbjobs.commands._job_table import print_history
from kbjobs.commands._render import print_json, say
from kbjobs.services.jobs import get_job_manager
from kbjobs.store.transitions import Status

MAX_DAYS = 36500  # the clock does not go back for ever

app = App()


@app.command()
def history(
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many jobs.")] = 50,
    days: Annotated[float, typer.Option(min=0, max=MAX_DAYS, help="Only jobs of the last N days.")] = 7,
    job_type: Annotated[str | None, typer.Option("--type", help="Only this type.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Only this source.", metavar="ID", autocompletion=complete_sources)
    ] = None,
    status: Annotated[Status | None, typer.Option(help="Only this status.")] = None,
    header: Annotated[
        bool, typer.Option("--header", help="Print the names of the columns, even if stdout is not a terminal.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """List past jobs, newest first.

    Example:  kbjobs history --days 30 --source wiki --status failed
    """
    wanted = None if job_type is None else job_type.replace("-", "_")
    manager = get_job_manager()
    manager.check_filters(job_type, source)
    jobs = manager.get_job_history(limit, days, wanted, source, status)
    if as_json:
        print_json([job.as_dict() for job in jobs])
    elif jobs:
        print_history(jobs, header=header)
    else:
        say("No matching jobs.")
