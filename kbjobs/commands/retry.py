"""``kbjobs retry``: run ended jobs again."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import SOME_JOBS
from kbjobs.commands._completion import complete_sources
from kbjobs.commands._following import PROGRESS, QUIET, ProgressMode, choose_mode, follow_again
from kbjobs.commands._render import say
from kbjobs.commands._several import do_to_all
from kbjobs.errors import UsageError
from kbjobs.services.jobs import get_job_manager

app = App()


@app.command()
def retry(
    jobs: SOME_JOBS = None,
    all_failed: Annotated[
        bool, typer.Option("--all-failed", help="Retry all jobs that failed and have not succeeded since.")
    ] = False,
    job_type: Annotated[
        str | None, typer.Option("--type", help="With --all-failed: only jobs of this type.", metavar="TYPE")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="With --all-failed: only jobs of this source.", metavar="ID", autocompletion=complete_sources
        ),
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(min=0, max=36500, help="With --all-failed: only jobs that ended within N days."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return at once.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
    quiet: QUIET = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Run jobs again from the start, under the same ids, and follow them.

    If one of several jobs cannot run again, the others do; the exit code is the worst. --all-failed leaves out jobs
    whose work another job has done since or will do.

    Example:  kbjobs retry 12

    Example:  kbjobs retry --all-failed --type index-offline --days 1
    """
    if bool(jobs) is all_failed:
        raise UsageError("name jobs, or give --all-failed", "For example: kbjobs retry 12")
    if not all_failed and (job_type, source, days) != (None, None, None):
        raise UsageError("--type, --source and --days need --all-failed", "For example: kbjobs retry 12")
    manager = get_job_manager()
    manager.check_filters(job_type, source)
    ids = jobs or [job.id for job in manager.get_failed_jobs(job_type, source, days)]
    if not ids:
        if not quiet:
            say("Nothing to retry.")
        return
    done = do_to_all(ids, lambda on_error: manager.retry_each(ids, on_error, say))
    follow_again(manager, done, detach, choose_mode(as_json, quiet, progress))
