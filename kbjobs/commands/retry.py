"""``kbjobs retry``: run ended jobs again."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.api import get_job_manager
from kbjobs.commands._following import follow_again
from kbjobs.commands._several import do_to_all

app = typer.Typer(add_completion=False)


@app.command()
def retry(
    jobs: Annotated[list[int], typer.Argument(help="Ids of the jobs.", show_default=False)],
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return at once.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
) -> None:
    """Run ended jobs, or those whose worker is dead, again from the start, under their ids, and follow them.

    Example:  kbjobs retry 12
    """
    manager = get_job_manager()
    follow_again(manager, do_to_all(jobs, lambda on_error: manager.retry_each(jobs, on_error)), detach, as_json)
