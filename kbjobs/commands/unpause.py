"""``kbjobs unpause``: let jobs go on that were paused."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._completion import complete_sources
from kbjobs.commands._render import print_json, say
from kbjobs.formatting import sentence
from kbjobs.services.jobs import get_job_manager

app = App()


@app.command()
def unpause(
    source: Annotated[
        str | None,
        typer.Option(
            help="Release the jobs of this source.", metavar="ID", autocompletion=complete_sources, show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Release the queue. A source that was paused on its own stays paused. Starts the daemon if jobs are waiting.

    Example:  kbjobs unpause

    Example:  kbjobs unpause --source wiki
    """
    manager = get_job_manager()
    ended = manager.unpause(source)
    left = manager.get_pauses()
    if as_json:
        print_json({"ended": None if ended is None else asdict(ended), "pauses": [asdict(one) for one in left]})
        return
    what = "the queue" if source is None else f"source {source}"
    goes_on = None if ended is None else f"{what} is released; it was paused since {ended.since}"
    say(sentence(goes_on or f"{what} was not paused"))
    for one in left:
        say(sentence(f"{one.what} has been paused since {one.since}; {one.remedy} ends that"))
