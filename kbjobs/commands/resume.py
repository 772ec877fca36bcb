"""``kbjobs resume``: go on with jobs that ended early."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._arguments import SOME_JOBS
from kbjobs.commands._following import PROGRESS, QUIET, ProgressMode, choose_mode, follow_again
from kbjobs.commands._render import say
from kbjobs.commands._several import do_to_all
from kbjobs.commands._times import parse_duration, read_moments
from kbjobs.errors import UsageError
from kbjobs.services.job_queries import keep_newest
from kbjobs.services.jobs import get_job_manager
from kbjobs.store.jobs import LimitChanges

app = App()


@app.command()
def resume(
    jobs: SOME_JOBS = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Resume all jobs that failed or were interrupted."),
    ] = False,
    until: Annotated[
        str | None, typer.Option(help="Stop at a checkpoint at this time: 06:00, +2h.", metavar="TIME")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Stop at a checkpoint after this much work: 3h, 90m.", metavar="DURATION")
    ] = None,
    not_before: Annotated[str | None, typer.Option(help="Start no earlier: 22:00, +2h.", metavar="TIME")] = None,
    retries: Annotated[int | None, typer.Option(min=0, max=100, help="Retries after a transient error.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return at once.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
    quiet: QUIET = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Resume jobs that failed, were cancelled or interrupted, or whose worker died, and follow them.

    A job resumes from what it has saved, with its old limits unless new ones are given. If one of several jobs cannot
    be resumed, the others are; the exit code is the worst. Of several jobs for the same work, --all resumes the newest.

    Example:  kbjobs resume --all --until 06:00 --quiet
    """
    if bool(jobs) == every:
        raise UsageError("name jobs, or give --all", "For example: kbjobs resume 12")
    start, end = read_moments(not_before, until)
    changes = LimitChanges(start, end, parse_duration(timeout) if timeout else None, retries)
    manager = get_job_manager()
    ids = jobs or [job.id for job in keep_newest(manager.get_resumable_jobs())]
    if not ids:
        if not quiet:
            say("Nothing to resume.")
        return
    wanted = None if changes == LimitChanges() else changes
    done = do_to_all(ids, lambda on_error: manager.resume_each(ids, on_error, wanted, say))
    follow_again(manager, done, detach, choose_mode(as_json, quiet, progress))
