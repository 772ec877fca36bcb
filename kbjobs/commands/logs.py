"""``kbjobs logs``: the log of a job."""

from __future__ import annotations

import codecs
import json
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import JOB
from kbjobs.commands._errors import printable
from kbjobs.commands._render import say
from kbjobs.errors import ExitCode
from kbjobs.services.job_events import POLL_SECONDS
from kbjobs.services.jobs import JobManager, get_job_manager

app = App()


@app.command()
def logs(
    job: JOB,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until the job ends.")] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="The log of this attempt (default: the newest).", show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON on stdout; with --follow, a document for each part.")
    ] = False,
) -> None:
    """Print the log of a job. Each attempt has its own.

    Example:  kbjobs logs 12 -f
    """
    manager = get_job_manager()
    found = manager.get_status(job)
    shown = attempt if attempt is not None else found.attempt
    if not follow:
        with closing(_Log(manager.log_file(found, shown), job, shown, as_json)) as log:
            log.show()
        return
    if not found.has_ended and not manager.get_daemon().running:
        say("No daemon is running, so nothing will happen. Start it: kbjobs daemon start, or kbjobs wait JOB.")
    try:
        if attempt is not None:
            _follow(manager, job, attempt, as_json)
            return
        shown = max(1, shown)
        while _follow(manager, job, shown, as_json):
            shown += 1
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.CTRL_C) from None


def _follow(manager: JobManager, job_id: int, attempt: int, as_json: bool) -> bool:
    """Show the log of an attempt until it ends; returns whether the job goes on, with another attempt."""
    log: _Log | None = None
    with ExitStack() as opened:
        while True:
            current = manager.get_status(job_id)  # before the look at the log: what is written until then is shown
            path = manager.home.log_file(job_id, attempt)
            if log is None and (path.exists() or current.has_ended):
                log = opened.enter_context(closing(_Log(manager.log_file(current, attempt), job_id, attempt, as_json)))
            if log is not None:
                log.show()
            if current.has_ended or current.attempt > attempt:
                return not current.has_ended or current.attempt > attempt
            time.sleep(POLL_SECONDS)


class _Log:
    """A log that is shown as far as it is written: its text, or a JSON document a call."""

    def __init__(self, path: Path, job_id: int, attempt: int, as_json: bool) -> None:
        self._attempt = {"job": job_id, "attempt": attempt, "path": str(path)}
        self._as_json = as_json
        self._file = path.open("rb")
        # A letter of several bytes may be half written, or stand across the end of a part.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def close(self) -> None:
        """Read no further."""
        self._file.close()

    def show(self) -> None:
        """Print what is new. What a log quotes came from outside: no control character reaches the terminal."""
        if self._as_json:
            if text := self._decoder.decode(self._file.read()):
                print(json.dumps({**self._attempt, "text": text}, ensure_ascii=False), flush=True)
            return
        while part := self._file.read(65536):
            sys.stdout.write(printable(self._decoder.decode(part)))
        sys.stdout.flush()
