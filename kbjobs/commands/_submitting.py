"""What ``run`` and ``chain`` share: the options of every submit, and what is done with them."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kbjobs.commands._completion import complete_sources
from kbjobs.commands._following import ProgressMode, choose_mode, follow, has_bars, say_held
from kbjobs.commands._forecast import show_forecast
from kbjobs.commands._help import LIMITS, OUTPUT, WHAT, WHEN
from kbjobs.commands._job_table import ListedJob, print_jobs
from kbjobs.commands._render import DamagedSources, is_terminal, say
from kbjobs.commands._reports import show_report
from kbjobs.commands._times import parse_duration, read_moments
from kbjobs.config.home import current_home
from kbjobs.errors import (
    ExitCode,
    KbjobsError,
    MissingRequirementError,
    NotFoundError,
    UnavailableError,
    UsageError,
    worst,
)
from kbjobs.formatting import counted
from kbjobs.store.jobs import MAX_PRIORITY, Job, Limits
from kbjobs.store.queue import DuplicateJobError
from kbjobs.version import VERSION

if TYPE_CHECKING:
    from kbjobs.chains.chain import Chain
    from kbjobs.chains.planning import Planned
    from kbjobs.services.jobs import JobManager


Subject = tuple["Chain", str | None]
"""A chain to run, and the id of the source to run it on; None for a job without one."""


class IfActive(StrEnum):
    """What to do where the same job is pending or running."""

    REFUSE = "refuse"
    SKIP = "skip"


PRIORITY = Annotated[
    int,
    typer.Option(
        min=-MAX_PRIORITY,
        max=MAX_PRIORITY,
        help="Higher runs first; each hour of waiting adds one.",
        rich_help_panel=WHEN,
    ),
]
DETACH = Annotated[
    bool,
    typer.Option("--detach", "-d", help="Print the job's id and return at once.", rich_help_panel=OUTPUT),
]
JSON = Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.", rich_help_panel=OUTPUT)]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=OUTPUT)]
PROGRESS = Annotated[ProgressMode, typer.Option(help="How to show progress.", rich_help_panel=OUTPUT)]
NOT_BEFORE = Annotated[
    str | None,
    typer.Option(help="Start no earlier: 22:00, +2h, '2026-01-31 22:00'.", metavar="TIME", rich_help_panel=WHEN),
]
UNTIL = Annotated[
    str | None,
    typer.Option(
        help="Stop at a checkpoint at this time. The job can be resumed.",
        metavar="TIME",
        rich_help_panel=LIMITS,
    ),
]
TIMEOUT = Annotated[
    str | None,
    typer.Option(
        help="Stop at a checkpoint after this much work: 3h, 90m.", metavar="DURATION", rich_help_panel=LIMITS
    ),
]
RETRIES = Annotated[
    int,
    typer.Option(min=0, max=100, help="Retries after a transient error.", rich_help_panel=LIMITS),
]
RESUME = Annotated[
    bool,
    typer.Option(
        "--resume/--fresh",
        help="Resume from the checkpoint of an earlier job, or start from the beginning.",
        rich_help_panel=WHEN,
    ),
]
IF_ACTIVE = Annotated[
    IfActive, typer.Option(help="What to do if the same job is pending or running.", rich_help_panel=WHEN)
]

ALL_SOURCES = Annotated[
    bool,
    typer.Option("--all-sources", help="Submit a job for every registered source.", rich_help_panel=WHAT),
]
SOURCE_OR_ALL = Annotated[
    str | None,
    typer.Argument(
        metavar="[SOURCE]",
        help="Id of the source, or --all-sources.",
        show_default=False,
        autocompletion=complete_sources,
    ),
]

# The options of every submit, beside those of the type: name, annotation, default.
SUBMIT_OPTIONS: tuple[tuple[str, Any, Any], ...] = (
    ("priority", PRIORITY, 0),
    ("not_before", NOT_BEFORE, None),
    ("until", UNTIL, None),
    ("timeout", TIMEOUT, None),
    ("retries", RETRIES, 0),
    ("resume", RESUME, False),
    ("if_active", IF_ACTIVE, IfActive.REFUSE),
    ("detach", DETACH, False),
    ("as_json", JSON, False),
    ("quiet", QUIET, False),
    ("progress", PROGRESS, ProgressMode.AUTO),
)


def with_options(
    command: Callable[..., None], options: Sequence[tuple[str, Any, Any]], description: str
) -> Callable[..., None]:
    """Give a command that takes its options as keywords the signature that Typer builds them from.

    Args:
        command: the command, which is changed.
        options: name, annotation and default of each option.
        description: the command's help.

    Returns:
        The command.
    """
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, keyword, annotation=annotation, default=default)
        for name, annotation, default in options
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {name: annotation for name, annotation, _ in options}
    command.__doc__ = description
    return command


def read_limits(
    not_before: str | None = None, until: str | None = None, timeout: str | None = None, retries: int = 0
) -> Limits:
    """Read the limits of a job from its options.

    Args:
        not_before: the moment before which the job may not begin, as typed.
        until: the moment at which it must stop, as typed.
        timeout: how long it may run, such as ``2h``.
        retries: how often it is tried again after a transient error.

    Raises:
        UsageError: a moment or a duration cannot be read, has passed, or they contradict each other.
    """
    start, end = read_moments(not_before, until)
    return Limits(start, end, parse_duration(timeout) if timeout else None, retries)


def submit(
    subjects: Sequence[Subject],
    options: dict[str, Any],
    finish: Callable[[Job], None] | None = None,
    damaged: DamagedSources | None = None,
) -> None:
    """Submit a job for each source, then print the ids or follow the jobs.

    Everything is checked before anything is queued. If one named source is refused, none is queued; of all registered
    sources, those that lack what they need are named and left out.

    Args:
        subjects: each chain to run, with the id of its source; None stands for a job without one.
        options: the values of SUBMIT_OPTIONS, by name.
        finish: called with each job that was followed until it ended well.
        damaged: the sources left out, if all registered sources were meant; they show in the exit code.

    Raises:
        KbjobsError: a job cannot be queued.
        typer.Exit: a job ended badly, or a source was left out.
    """
    from kbjobs.services.jobs import get_job_manager

    manager = get_job_manager()
    quiet, as_json = options["quiet"], options["as_json"]
    limits = read_limits(options["not_before"], options["until"], options["timeout"], options["retries"])
    try:
        terms = (options["priority"], limits, options["resume"])
        planned = _plan_each(lambda chain, source: manager.plan(chain, source, *terms), subjects, damaged)
        if not quiet:
            for note in dict.fromkeys(note for one in planned for note in one.notes):
                say(note)
        jobs = _enqueue(manager, planned, options)
        if damaged is not None and not quiet:
            say(f"{counted(len(jobs), 'job')} queued, one for each of {counted(len(planned), 'source')}.")
        daemon = manager.get_daemon()
        if not quiet and daemon.version not in (None, VERSION):
            say(
                f"The daemon is still that of kbjobs {daemon.version}. If {VERSION} was installed in its place, that"
                " takes over before the job begins; else the old one runs it. kbjobs daemon restart replaces it now."
            )
    except KeyboardInterrupt:
        say("\nInterrupted while submitting; kbjobs status shows whether the job was queued.")
        raise typer.Exit(ExitCode.CTRL_C) from None
    if options["detach"] or not jobs:
        _report_queued(manager, jobs, as_json, quiet)
        if damaged is not None:
            damaged.end()
        return
    code = _follow_to_end(manager, jobs, choose_mode(as_json, quiet, options["progress"]))
    if finish is not None and code == ExitCode.DONE:
        for job in jobs:
            finish(manager.get_status(job.id))
    raise typer.Exit(code if damaged is None or code == ExitCode.CTRL_C else worst([code, damaged.code]))


def _plan_each(
    plan: Callable[[Chain, str | None], Planned], subjects: Sequence[Subject], damaged: DamagedSources | None
) -> list[Planned]:
    """Plan a job for each source. Of all registered sources, one that lacks what it needs is named and left out.

    Raises KbjobsError if a named source is refused, or all are.
    """
    planned: list[Planned] = []
    refused: dict[str, KbjobsError] = {}
    for chain, source in subjects:
        try:
            planned.append(plan(chain, source))
        except (NotFoundError, UnavailableError, MissingRequirementError) as error:
            if damaged is None or source is None:
                raise
            refused[source] = error
    if refused and not planned:
        raise next(iter(refused.values()))
    if damaged is not None:
        for source_id, reason in refused.items():
            damaged(source_id, reason)
    return planned


def _follow_to_end(manager: JobManager, jobs: Sequence[Job], mode: ProgressMode) -> int:
    """Follow the jobs, then show to a person how they ended; returns the exit code of the worst."""
    code = follow(manager, [job.id for job in jobs], mode, revive=True)
    if code != ExitCode.CTRL_C and mode not in (ProgressMode.JSON, ProgressMode.NONE):
        if len(jobs) > 1 and not (has_bars(mode) and is_terminal(sys.stdout)):  # else they stand in a table already
            print_jobs([ListedJob(manager.get_status(job.id)) for job in jobs])
        for job in jobs:
            show_report(job.type, manager.get_status(job.id).result)
    return code


def submit_to_each(chain: Chain, named: Sequence[str | None], options: dict[str, Any], forecast: bool = False) -> None:
    """Submit a job for each named source, or with ``--all-sources`` for each registered one.

    With ``--all-sources`` a damaged source is named and left out, and the command exits with 3.

    Args:
        chain: the chain to run.
        named: the ids of the named sources.
        options: the values of SUBMIT_OPTIONS, by name, and ``all_sources``.
        forecast: whether to print what the jobs would do instead.

    Raises:
        UsageError: no source is named, or both a source and ``--all-sources``.
        KbjobsError: a job cannot be queued.
        typer.Exit: a job ended badly, or a source was left out.
    """
    damaged = DamagedSources()
    sources = _choose_sources(named, options["all_sources"], damaged)
    _submit_or_forecast([(chain, source) for source in dict.fromkeys(sources)], options, damaged, forecast)


def submit_own_chains(options: dict[str, Any], forecast: bool) -> None:
    """Submit the chain of its own of each registered source that has one.

    A source whose chain cannot be read is named and left out, and the command exits with 3.

    Args:
        options: the values of SUBMIT_OPTIONS, by name, and ``all_sources``.
        forecast: whether to print what the jobs would do instead.

    Raises:
        UsageError: neither a chain is named nor ``--all-sources`` given.
        NotFoundError: no source has a chain of its own.
        KbjobsError, typer.Exit: as :func:`submit_to_each`.
    """
    if not options["all_sources"]:
        raise UsageError(
            "no chain is named", "Name one (kbjobs chains list), or give --all-sources for their own ones."
        )
    from kbjobs.services.source_profiles import read_own_chains

    damaged = DamagedSources()
    subjects: list[Subject] = list(read_own_chains(current_home(), damaged))
    _submit_or_forecast(subjects, options, damaged, forecast)


def _submit_or_forecast(
    subjects: Sequence[Subject], options: dict[str, Any], damaged: DamagedSources, forecast: bool
) -> None:
    if forecast:
        show_forecast(subjects, options["as_json"], damaged.code)
    else:
        submit(subjects, options, damaged=damaged if options["all_sources"] else None)


def _choose_sources(named: Sequence[str | None], all_sources: bool, damaged: DamagedSources) -> list[str | None]:
    """The sources that are named, or all that are registered; ``damaged`` is told of each that cannot be read.

    Raises UsageError if both are asked for, or neither; NotFoundError if there is none.
    """
    if bool(named) is all_sources:
        problem = "a source and --all-sources were both given" if all_sources else "no source is named"
        raise UsageError(problem, "Name a source, or give --all-sources. Nothing was queued.")
    if named:
        return list(named)
    from kbjobs.services.sources import describe_all

    found: list[str | None] = [state.source.id for state in describe_all(current_home(), damaged)]
    if not found:
        raise NotFoundError("there is no usable source", "kbjobs sources add ID PATH registers one.")
    return found


def _enqueue(manager: JobManager, planned: Sequence[Planned], options: dict[str, Any]) -> list[Job]:
    """Queue the jobs, all or none; with ``--if-active skip`` all but those that are live already."""
    left = list(planned)
    while left:
        try:
            return manager.enqueue(left)
        except DuplicateJobError as error:
            if options["if_active"] is IfActive.REFUSE:
                raise
            left = [one for one in left if one.job.key != error.key]
            if options["as_json"]:
                print(json.dumps({"event": "skipped", "job": manager.get_status(error.job_id).as_dict()}))
            elif not options["quiet"]:
                say(f"{error.message}; nothing was queued" + (" for it." if len(planned) > 1 else "."))
    return []


def _report_queued(manager: JobManager, jobs: Sequence[Job], as_json: bool, quiet: bool) -> None:
    for job in jobs:
        if as_json:
            print(json.dumps({"event": "queued", "job": job.as_dict()}, ensure_ascii=False))
        else:
            print(job.id)
    if jobs and not quiet and not as_json:
        names = " ".join(str(job.id) for job in jobs)
        watch = f"kbjobs watch {names}" if len(jobs) == 1 else "kbjobs watch"
        say(
            f"{watch} shows {'it' if len(jobs) == 1 else 'them'}, kbjobs cancel {names} stops"
            f" {'it' if len(jobs) == 1 else 'them'}."
        )
    if not quiet:
        say_held(manager, [job.id for job in jobs])
