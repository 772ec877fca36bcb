"""``kbjobs sources apply``: sources as a file declares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kbjobs.commands._asking import NO_INPUT, YES, ask_unless
from kbjobs.commands._errors import say_error
from kbjobs.commands._render import print_json, say
from kbjobs.config.home import current_home
from kbjobs.errors import KbjobsError, worst
from kbjobs.formatting import counted

if TYPE_CHECKING:
    from kbjobs.services.declared_sources import SourceChange


def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file that declares them.", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the sources that the file declared before and no longer does.")
    ] = False,
    yes: YES = False,
    no_input: NO_INPUT = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Make sources as a file declares them: what is new is added, what differs is changed, nothing else.

    The file has a table for each source, with paths or a url, and its own chain, which "kbjobs chain --all-sources"
    runs. The same file twice changes nothing. Everything in it is checked before anything is changed.

    Example:  kbjobs sources apply sources.toml --dry-run
    """
    from kbjobs.services import declared_sources as front

    home = current_home()
    declared = front.read_declared(home, file)
    changes = front.plan_sources(home, file, declared)
    gone = [change.source for change in changes if change.action == "remove"] if prune else []
    ask = ask_unless(yes, no_input)
    jobs: dict[str, int] = {}
    failures: dict[str, KbjobsError] = {}
    if not dry_run:
        if gone:
            ask(f"{', '.join(gone)}: to be deleted with all that was made of {'it' if len(gone) == 1 else 'them'}")
        for source in declared:
            try:
                front.apply_source(home, file, source, ask)
            except KbjobsError as error:
                failures[source.id] = error
                say_error(error)
        jobs = _delete(gone)
    if as_json:
        errors = {source: error.message for source, error in failures.items()}
        print_json([{**asdict(one), "job": jobs.get(one.source), "error": errors.get(one.source)} for one in changes])
    else:
        _tell([one for one in changes if one.source not in failures], dry_run, prune, jobs)
    if failures:
        raise typer.Exit(worst(error.exit_code for error in failures.values()))


def _tell(changes: Sequence[SourceChange], dry_run: bool, prune: bool, jobs: Mapping[str, int]) -> None:
    """Say what was done, or would be."""
    for one in changes:
        if one.action != "keep":
            say(f"Source {one.source}: {_describe(one, dry_run, prune, jobs.get(one.source))}")
    if kept := sum(one.action == "keep" for one in changes):
        say(f"{counted(kept, 'source')} unchanged.")


def _delete(sources: list[str]) -> dict[str, int]:
    """Submit the deletion of sources; returns the job of each."""
    if not sources:
        return {}
    from kbjobs.services.jobs import get_job_manager

    manager = get_job_manager()
    return {source: manager.submit("delete_source", source, confirm=source) for source in sources}


def _describe(change: SourceChange, dry_run: bool, prune: bool, job: int | None) -> str:
    """What was done to a source, or would be, for people."""
    if change.action == "remove":
        if job is not None:
            return f"job {job} deletes it"
        return "would be deleted" if prune else "no longer declared; --prune deletes it"
    done = "added" if change.action == "add" else f"changed ({', '.join(change.fields)})"
    return f"would be {done}" if dry_run else done
