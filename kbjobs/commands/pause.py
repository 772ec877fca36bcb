"""``kbjobs pause``: hold the queue, or one source's jobs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._completion import complete_sources
from kbjobs.commands._render import print_json, say
from kbjobs.formatting import agreeing, sentence
from kbjobs.services.jobs import get_job_manager
from kbjobs.store.pauses import Held

app = App()


@app.command()
def pause(
    source: Annotated[
        str | None,
        typer.Option(
            help="Hold only the jobs of this source.",
            metavar="ID",
            autocompletion=complete_sources,
            show_default=False,
        ),
    ] = None,
    running: Annotated[
        bool, typer.Option("--running", help="Also stop running jobs at a checkpoint; unpause resumes them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Hold the queue: no job starts until "kbjobs unpause". New jobs can be submitted; they wait.

    The queue stays paused after a restart of the daemon and after a reboot. A waiting job ends when its --until passes.

    Example:  kbjobs pause

    Example:  kbjobs pause --source wiki --running
    """
    held = get_job_manager().pause(source, running)
    if as_json:
        print_json(
            {
                "pause": asdict(held.pause),
                "new": held.is_new,
                "waiting": held.waiting,
                "running": held.running,
                "stopping": held.stopping,
            }
        )
        return
    _report(held)


def _report(held: Held) -> None:
    pause = held.pause
    already = "" if held.is_new else f" already, since {pause.since}"
    waiting = agreeing(len(held.waiting), "job", "waits", "wait") if held.waiting else "what is submitted waits"
    say(sentence(f"{pause.what} is paused{already}; {waiting} for {pause.remedy}"))
    going_on = len(held.running) - len(held.stopping)
    if held.stopping:
        jobs = agreeing(len(held.stopping), "job", "is", "are")
        say(
            f"{jobs} asked to stop at the next checkpoint: {' '.join(map(str, held.stopping))}; kbjobs status shows it."
        )
    if going_on:
        say(f"{agreeing(going_on, 'job', 'runs', 'run')} will finish; kbjobs pause --running stops running jobs.")
