"""``kbjobs run TYPE SOURCE``: one subcommand per job type, its options made from the type's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from kbjobs.commands._submitting import SUBMIT_OPTIONS, submit
from kbjobs.phases.base import JobType
from kbjobs.phases.registry import job_types

app = typer.Typer(no_args_is_help=True)


@app.callback()
def run() -> None:
    """Submit one job and follow it to its end.

    Example:  kbjobs run index-offline wiki --detach
    """


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
        from kbjobs.api import get_job_manager

        params = {name: values[name] for name in fields if values[name] is not None}
        submit(get_job_manager().find_chain(kind.name, params), [values["source"]], values)

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
