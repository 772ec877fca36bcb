"""``kbjobs logs``: the log of a job."""

from __future__ import annotations

import sys
import time
from typing import Annotated, BinaryIO

import typer

from kbjobs.api import POLL_SECONDS, get_job_manager
from kbjobs.commands._errors import printable
from kbjobs.errors import ExitCode

app = typer.Typer()


@app.command()
def logs(
    job: Annotated[int, typer.Argument(help="Id of the job.", show_default=False)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    attempt: Annotated[int | None, typer.Option(help="Default: the newest.", show_default=False)] = None,
) -> None:
    """The log of a job, one per attempt; none is ever overwritten.

    Example:  kbjobs logs 12 -f
    """
    manager = get_job_manager()
    found = manager.get_status(job)
    try:
        while follow and found.attempt == 0 and not found.has_ended:
            time.sleep(POLL_SECONDS)
            found = manager.get_status(job)
        shown = attempt if attempt is not None else found.attempt
        with manager.log_file(found, shown).open("rb") as file:
            _copy(file)
            while follow:
                current = manager.get_status(job)
                _copy(file)
                if current.has_ended or current.attempt != shown:
                    break
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.CTRL_C) from None


def _copy(file: BinaryIO) -> None:
    # What a log quotes came from outside: no control character reaches the terminal.
    while part := file.read(65536):
        sys.stdout.write(printable(part.decode(errors="replace")))
    sys.stdout.flush()
