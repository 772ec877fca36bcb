"""``kbjobs prune``: forget old jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._job_table import ListedJob, print_jobs
from kbjobs.commands._render import print_json, say
from kbjobs.formatting import counted
from kbjobs.services.jobs import get_job_manager
from kbjobs.services.leftovers import prune_leftovers

app = App()


@app.command()
def prune(
    days: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Delete what is older than this many days (default: the setting history_days).",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted; delete nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Delete old jobs, their logs, and checkpoints and downloads that nobody resumed.

    Sources and vectors are not touched. The newest job always stays, so that no id is used twice.

    Example:  kbjobs prune --days 30 --dry-run
    """
    manager = get_job_manager()
    limit = days if days is not None else manager.settings.number("history_days")
    gone = []
    while batch := manager.prune(limit, dry_run):
        gone.extend(batch)
        if dry_run:
            break
    checkpoints = manager.prune_checkpoints(limit, dry_run)
    leftovers = prune_leftovers(manager.home, limit, dry_run)
    if as_json:
        stale = [{"source": one.source_id, "type": one.job_type, "saved_at": one.saved_at} for one in checkpoints]
        paths = [{"path": str(one.path), "bytes": one.size} for one in leftovers]
        print_json({"dry_run": dry_run, "jobs": [job.id for job in gone], "checkpoints": stale, "leftovers": paths})
        return
    if dry_run and gone:
        print_jobs([ListedJob(job) for job in gone])
    done = "would be deleted" if dry_run else "deleted"
    for one in leftovers:
        say(f"{one.path}, {one.size / 1e6:,.1f} MB, an unfinished download: {done}")
    say(
        f"{counted(len(gone), 'job')} and {counted(len(checkpoints), 'checkpoint')}"
        f" {'would be' if dry_run else 'are'} deleted."
    )
