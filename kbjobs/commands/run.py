"""``kbjobs run TYPE SOURCE``: one subcommand per job type, its options made from the type's parameters."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from kbjobs.commands._following import ProgressMode, follow
from kbjobs.commands._render import say
from kbjobs.phases.base import JobType
from kbjobs.phases.registry import job_types

app = typer.Typer(no_args_is_help=True, help="Submit one job and follow it to its end.")

PRIORITY = Annotated[int, typer.Option(help="Higher runs first.", rich_help_panel="Submit")]
DETACH = Annotated[
    bool,
    typer.Option("--detach", "-d", help="Print the job's id and return at once.", rich_help_panel="Submit"),
]
JSON = Annotated[bool, typer.Option("--json", help="JSON lines of what happens, on stdout.", rich_help_panel="Submit")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.", rich_help_panel="Submit")]
PROGRESS = Annotated[ProgressMode, typer.Option(help="How progress is shown.", rich_help_panel="Submit")]


@app.callback()
def run() -> None:
    """Submit one job and follow it to its end.

    Example:  kbjobs run index-offline wiki --detach
    """


def submit(
    name: str,
    source: str,
    params: dict[str, Any],
    priority: int,
    detach: bool,
    as_json: bool,
    quiet: bool,
    progress: ProgressMode,
) -> None:
    """Submit a job, then print its id or follow it."""
    from kbjobs.api import get_job_manager

    manager = get_job_manager()
    job = manager.submit_job(name, source, params, priority)
    if detach:
        if as_json:
            print(json.dumps({"event": "queued", "job": job.as_dict()}, ensure_ascii=False))
        else:
            print(job.id)
            if not quiet:
                say(f"kbjobs watch {job.id} shows it, kbjobs cancel {job.id} stops it.")
        return
    mode = ProgressMode.JSON if as_json else ProgressMode.NONE if quiet else progress
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
        submit(
            kind.name,
            values["source"],
            {name: values[name] for name in fields if values[name] is not None},
            values["priority"],
            values["detach"],
            values["as_json"],
            values["quiet"],
            values["progress"],
        )

    keyword = inspect.Parameter.KEYWORD_ONLY
    source = Annotated[str, typer.Argument(help="Id of the source.", show_default=False)]
    parameters = [inspect.Parameter("source", keyword, annotation=source)]
    for name, field in fields.items():
        annotation, default = _option(name, field)
        parameters.append(inspect.Parameter(name, keyword, annotation=annotation, default=default))
    for name, annotation, default in (
        ("priority", PRIORITY, 0),
        ("detach", DETACH, False),
        ("as_json", JSON, False),
        ("quiet", QUIET, False),
        ("progress", PROGRESS, ProgressMode.AUTO),
    ):
        parameters.append(inspect.Parameter(name, keyword, annotation=annotation, default=default))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = f"{kind.description}\n\nExample:  kbjobs run {kind.command} wiki"
    return command


for _kind in job_types():
    app.command(_kind.command, short_help=_kind.description)(_command(_kind))
