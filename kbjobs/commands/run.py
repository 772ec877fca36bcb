"""``kbjobs run TYPE SOURCE``: one subcommand per job type, its options made from the type's parameters."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from kbjobs.commands._following import ProgressMode, follow
from kbjobs.commands._render import say
from kbjobs.commands._times import parse_duration, parse_moment
from kbjobs.errors import ExitCode
from kbjobs.phases.base import JobType
from kbjobs.phases.registry import job_types
from kbjobs.store.jobs import Limits
from kbjobs.store.queue import DuplicateJobError

app = typer.Typer(no_args_is_help=True)

SUBMIT_PANEL = "Submit"


class IfActive(StrEnum):
    """What to do where the same job is pending or running."""

    REFUSE = "refuse"
    SKIP = "skip"


PRIORITY = Annotated[int, typer.Option(help="Higher runs first.", rich_help_panel=SUBMIT_PANEL)]
DETACH = Annotated[
    bool,
    typer.Option("--detach", "-d", help="Print the job's id and return at once.", rich_help_panel=SUBMIT_PANEL),
]
JSON = Annotated[
    bool, typer.Option("--json", help="JSON lines of what happens, on stdout.", rich_help_panel=SUBMIT_PANEL)
]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.", rich_help_panel=SUBMIT_PANEL)]
PROGRESS = Annotated[ProgressMode, typer.Option(help="How progress is shown.", rich_help_panel=SUBMIT_PANEL)]
NOT_BEFORE = Annotated[
    str | None,
    typer.Option(help="Wait until then: 22:00, +2h, '2026-01-31 22:00'.", metavar="TIME", rich_help_panel=SUBMIT_PANEL),
]
UNTIL = Annotated[
    str | None,
    typer.Option(help="Stop at a checkpoint then, resumable.", metavar="TIME", rich_help_panel=SUBMIT_PANEL),
]
TIMEOUT = Annotated[
    str | None,
    typer.Option(help="Stop at a checkpoint after so much work: 3h.", metavar="DURATION", rich_help_panel=SUBMIT_PANEL),
]
RETRIES = Annotated[
    int, typer.Option(min=0, max=100, help="Try a passing error so often again.", rich_help_panel=SUBMIT_PANEL)
]
IF_ACTIVE = Annotated[
    IfActive, typer.Option(help="When the same job is pending or running.", rich_help_panel=SUBMIT_PANEL)
]

# The options of every submit, beside those of the type: name, annotation, default.
SUBMIT_OPTIONS: tuple[tuple[str, Any, Any], ...] = (
    ("priority", PRIORITY, 0),
    ("not_before", NOT_BEFORE, None),
    ("until", UNTIL, None),
    ("timeout", TIMEOUT, None),
    ("retries", RETRIES, 0),
    ("if_active", IF_ACTIVE, IfActive.REFUSE),
    ("detach", DETACH, False),
    ("as_json", JSON, False),
    ("quiet", QUIET, False),
    ("progress", PROGRESS, ProgressMode.AUTO),
)


@app.callback()
def run() -> None:
    """Submit one job and follow it to its end.

    Example:  kbjobs run index-offline wiki --detach
    """


def read_limits(
    not_before: str | None = None, until: str | None = None, timeout: str | None = None, retries: int = 0
) -> Limits:
    """The limits that the options ask for."""
    return Limits(
        parse_moment(not_before) if not_before else None,
        parse_moment(until) if until else None,
        parse_duration(timeout) if timeout else None,
        retries,
    )


def submit(name: str, source: str, params: dict[str, Any], options: dict[str, Any]) -> None:
    """Submit a job, then print its id or follow it. ``options`` are those of SUBMIT_OPTIONS."""
    from kbjobs.api import get_job_manager

    manager = get_job_manager()
    quiet, as_json = options["quiet"], options["as_json"]
    limits = read_limits(options["not_before"], options["until"], options["timeout"], options["retries"])
    try:
        job = manager.submit_job(name, source, params, options["priority"], limits)
    except KeyboardInterrupt:
        say("\nInterrupted while submitting; kbjobs status shows whether the job was queued.")
        raise typer.Exit(ExitCode.CTRL_C) from None
    except DuplicateJobError as error:
        if options["if_active"] is IfActive.REFUSE:
            raise
        if as_json:
            print(json.dumps({"event": "skipped", "job": manager.get_status(error.job_id).as_dict()}))
        elif not quiet:
            say(f"{error.message}; nothing was queued.")
        return
    if options["detach"]:
        if as_json:
            print(json.dumps({"event": "queued", "job": job.as_dict()}, ensure_ascii=False))
        else:
            print(job.id)
            if not quiet:
                say(f"kbjobs watch {job.id} shows it, kbjobs cancel {job.id} stops it.")
        return
    mode = ProgressMode.JSON if as_json else ProgressMode.NONE if quiet else options["progress"]
    raise typer.Exit(follow(manager, [job.id], mode, revive=True))


def _option(name: str, field: FieldInfo) -> tuple[Any, Any]:
    """The option for a field: its type as Typer understands it, and its default."""
    kind: Any = field.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not NoneType)
    metavar = None
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        kind, metavar = type(choices[0]), "|".join(str(choice) for choice in choices)
    flag = "--" + name.replace("_", "-")
    # Off by default, a switch needs no way to switch it off.
    names = [flag] if kind is bool and field.default is False else []
    option = typer.Option(*names, help=field.description, metavar=metavar, rich_help_panel="Options of the type")
    return Annotated[kind | None if field.default is None else kind, option], field.default


def _command(kind: JobType) -> Callable[..., None]:
    fields = kind.params.model_fields

    def command(**values: Any) -> None:
        params = {name: values[name] for name in fields if values[name] is not None}
        submit(kind.name, values["source"], params, values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    source = Annotated[str, typer.Argument(help="Id of the source.", show_default=False)]
    parameters = [inspect.Parameter("source", keyword, annotation=source)]
    for name, field in fields.items():
        annotation, default = _option(name, field)
        parameters.append(inspect.Parameter(name, keyword, annotation=annotation, default=default))
    for name, annotation, default in SUBMIT_OPTIONS:
        parameters.append(inspect.Parameter(name, keyword, annotation=annotation, default=default))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = f"{kind.description}\n\nExample:  kbjobs run {kind.command} wiki"
    return command


for _kind in job_types():
    app.command(_kind.command, short_help=_kind.description)(_command(_kind))
