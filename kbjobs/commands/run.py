"""``kbjobs run TYPE SOURCE``: one subcommand per job type, its options made from the type's parameters."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from keyword import iskeyword
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from kbjobs.chains.library import built_in_names
from kbjobs.commands._app import App, Group
from kbjobs.commands._arguments import SOURCE
from kbjobs.commands._asking import NO_INPUT, ask_for_id
from kbjobs.commands._completion import complete_choices, complete_models, complete_sources
from kbjobs.commands._forecast import DRY_RUN
from kbjobs.commands._help import WHAT
from kbjobs.commands._opening import show_page
from kbjobs.commands._submitting import (
    ALL_SOURCES,
    SOURCE_OR_ALL,
    SUBMIT_OPTIONS,
    submit,
    submit_to_each,
    with_options,
)
from kbjobs.embedding.dimensions import DIMENSIONS, LOCAL_DIMENSIONS, Dimension, list_dimensions
from kbjobs.errors import UsageError
from kbjobs.phases.job_type import JobType
from kbjobs.phases.names import INTERNAL, LEGACY, stands_for_two
from kbjobs.phases.registry import is_taken, job_type, job_types
from kbjobs.services.chain_files import built_in_chain

if TYPE_CHECKING:
    from kbjobs.chains.chain import Chain

COMBINED = "Combined jobs"
DIMENSION = FieldInfo(
    annotation=Dimension | None,
    default=None,
    description=f"Tells which is meant: {list_dimensions(LOCAL_DIMENSIONS)} offline, {DIMENSIONS[-1]} online.",
)
TARGET = Annotated[
    str,
    typer.Argument(
        metavar="PATH|SOURCE",
        help="A ZIM file, or the id of a source.",
        show_default=False,
        autocompletion=complete_sources,
    ),
]
NEW_SOURCE = Annotated[
    str | None,
    typer.Option(
        "--source", help="Id of the new source (default: from the file name).", metavar="ID", show_default=False
    ),
]
SEVERAL = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE…]",
        help="Ids of sources (default: all that are indexed).",
        show_default=False,
        autocompletion=complete_sources,
    ),
]
OPEN = Annotated[bool, typer.Option("--open", help="Open the map in a browser when it is ready.", rich_help_panel=WHAT)]


# What a shell completes parameters to, by their names.
COMPLETERS = {"model": complete_models, "confirm": complete_sources}


class JobTypeGroup(Group):
    """A subcommand for each job type and built-in chain; only the one that is used is loaded."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names on the command line."""
        return [kind.command for kind in job_types()] + [name.replace("_", "-") for name in built_in_names()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The subcommand. Raises UsageError with the nearest right name."""
        wanted = cmd_name.replace("-", "_")
        single = App()
        if stands_for_two(wanted):
            local = LEGACY[wanted][0]
            chosen = dict(job_type(local).params.model_fields) if is_taken(local) else {}
            chosen["dimension"] = DIMENSION
            names = " or ".join(name.replace("_", "-") for name in LEGACY[wanted])
            single.command(cmd_name)(_command(wanted, f"A name of former times: {names}, by --dimension.", chosen))
        elif wanted in built_in_names():
            chain = built_in_chain(wanted)
            hint = f"Its phases: kbjobs chains show {cmd_name}."
            single.command(cmd_name, short_help=chain.description, rich_help_panel=COMBINED)(
                _chain_command(chain, f"{chain.description}\n\n{hint}")
            )
        else:
            if not is_taken(wanted) or wanted in INTERNAL:
                near = get_close_matches(cmd_name, self.list_commands(ctx), 1)
                hint = f"Did you mean {near[0]}? " if near else ""
                raise UsageError(f"unknown job type {cmd_name!r}", hint + "kbjobs types lists them.")
            kind = job_type(cmd_name)
            single.command(kind.command, short_help=kind.description, rich_help_panel=kind.category.capitalize())(
                command_of(kind)
            )
        return typer.main.get_command(single)


app = App(cls=JobTypeGroup)


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
    metavar, completer = None, COMPLETERS.get(name)
    if _is_written_as_json(field):
        kind, metavar = str, "JSON"
    elif get_origin(kind) is Literal:
        choices = get_args(kind)
        kind, metavar = type(choices[0]), "|".join(str(choice) for choice in choices)
        completer = complete_choices(choices)
    flag = "--" + name.replace("_", "-")
    # Off by default, a switch needs no way to switch it off.
    names = [flag] if kind is bool and field.default is False else []
    if iskeyword(name):
        names = [flag]
    option = typer.Option(
        *names, help=field.description, metavar=metavar, rich_help_panel=WHAT, autocompletion=completer
    )
    if field.is_required():
        # An option of its own without a default is one that must be given.
        return Annotated[kind, option], inspect.Parameter.empty
    default = None if metavar == "JSON" else field.default
    return Annotated[kind | None if default is None else kind, option], default


def _name_in_python(field: str) -> str:
    """The name of a field's argument: a word of Python's own, as "from", cannot be one."""
    return f"{field}_" if iskeyword(field) else field


def _is_written_as_json(field: FieldInfo) -> bool:
    """Whether a parameter is a list, a table or a choice of unlike things, which no option of a word can give."""
    kind: Any = field.annotation
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    parts = [part for part in choices if part is not NoneType]
    return len(parts) > 1 or (get_origin(parts[0]) is not Literal and parts[0] not in (str, int, float, bool))


def _read_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--{name.replace('_', '-')} is not JSON: {error}", 'Write it like \'["a", "b"]\'.') from None


def command_of(kind: JobType[Any], shown_as: str = "", positional: str = "") -> Callable[..., None]:
    """Make the command that submits a job of a type.

    Args:
        kind: the job type.
        shown_as: the words after ``kbjobs``, if they are not those of ``kbjobs run``.
        positional: a parameter that is written after the source, and not as an option.
    """
    if kind.target.takes_file:
        return _file_command(kind)
    if kind.target.takes_sources:
        return _several_command(kind)
    if kind.target.parameter:
        return _named_command(kind)
    if kind.target.ends_source:
        return _deleting_command(kind, f"kbjobs {shown_as or f'run {kind.command}'} wiki")
    if positional:
        return _positional_command(kind, positional)
    return _command(kind.name, kind.description, kind.params.model_fields, kind.examples)


def _deleting_command(kind: JobType[Any], example: str) -> Callable[..., None]:
    """The command of a type that ends a source: where the id is not given once more, it is asked for."""

    def command(**values: Any) -> None:
        from kbjobs.services.jobs import get_job_manager
        from kbjobs.services.sources import describe_deletion

        manager, source = get_job_manager(), values["source"]
        params = {field: values[field] for field in kind.params.model_fields}
        if not params["confirm"]:
            # What would be refused anyway is not asked about.
            manager.plan(manager.find_chain(kind.name, {**params, "confirm": source}), source)
            what = describe_deletion(manager.home, source, params["keep_files"])
            params["confirm"] = ask_for_id(source, what, values["no_input"])
        submit([(manager.find_chain(kind.name, params), source)], values)

    parameters: list[tuple[str, Any, Any]] = [("source", SOURCE, inspect.Parameter.empty)]
    parameters += [(field, *_option(field, declared)) for field, declared in kind.params.model_fields.items()]
    parameters.append(("no_input", NO_INPUT, False))
    more = f"Example:  {example}\n\nExample:  {example} --keep-files --confirm wiki"
    return with_options(command, [*parameters, *SUBMIT_OPTIONS], f"{kind.description}\n\n{more}")


def _file_command(kind: JobType[Any]) -> Callable[..., None]:
    """The command of a type that takes a file in the place of a source."""
    fields = {name: field for name, field in kind.params.model_fields.items() if name != "path"}

    def command(**values: Any) -> None:
        from kbjobs.services.jobs import get_job_manager

        target, source = values["target"], values.get("source")
        params = {field: values[field] for field in fields if values[field] is not None}
        if "/" in target or Path(target).suffix.lower().startswith(".zim") or Path(target).is_file():
            params["path"] = str(Path(target).absolute())
            if source is None and kind.target.name_source is not None:
                source = kind.target.name_source(params["path"])
        elif source is not None:
            raise UsageError("two sources were given", f"Give the path of a file, or {target} alone.")
        else:
            source = target
        submit([(get_job_manager().find_chain(kind.name, params), source)], values)

    parameters: list[tuple[str, Any, Any]] = [("target", TARGET, inspect.Parameter.empty)]
    if kind.target.name_source is not None:
        parameters.append(("source", NEW_SOURCE, None))
    parameters += [(field, *_option(field, declared)) for field, declared in fields.items()]
    example = f"Example:  kbjobs run {kind.command} wikibooks_be_all_nopic_2017-02.zim"
    return with_options(command, [*parameters, *SUBMIT_OPTIONS], f"{kind.description}\n\n{example}")


def _named_command(kind: JobType[Any]) -> Callable[..., None]:
    """The command of a type that takes one of its parameters in the place of a source."""
    name = kind.target.parameter
    fields = {field: declared for field, declared in kind.params.model_fields.items() if field != name}

    def command(**values: Any) -> None:
        from kbjobs.services.jobs import get_job_manager

        params = {field: value for field in fields if (value := values[_name_in_python(field)]) is not None}
        submit([(get_job_manager().find_chain(kind.name, {name: values[name], **params}), None)], values)

    described = kind.params.model_fields[name].description
    argument = typer.Argument(
        metavar=name.upper(), help=described, show_default=False, autocompletion=COMPLETERS.get(name)
    )
    parameters: list[tuple[str, Any, Any]] = [(name, Annotated[str, argument], inspect.Parameter.empty)]
    parameters += [(_name_in_python(field), *_option(field, declared)) for field, declared in fields.items()]
    shown = [f"Example:  {example}" for example in kind.examples]
    return with_options(command, [*parameters, *SUBMIT_OPTIONS], "\n\n".join([kind.description, *shown]))


def _several_command(kind: JobType[Any]) -> Callable[..., None]:
    """The command of a type that takes several sources or none, and makes a page to be looked at."""
    fields = {name: field for name, field in kind.params.model_fields.items() if name != "sources"}

    def command(**values: Any) -> None:
        from kbjobs.services.jobs import get_job_manager

        manager, names = get_job_manager(), list(dict.fromkeys(values["source"] or ()))
        if values["open"] and values["detach"]:
            raise UsageError("--open and --detach exclude each other", "Leave out one of them.")
        params = {field: values[field] for field in fields if values[field] is not None}
        if len(names) > 1:
            params["sources"] = names
        finish = partial(show_page, manager) if values["open"] else None
        source = names[0] if len(names) == 1 else None
        submit([(manager.find_chain(kind.name, params), source)], values, finish)

    parameters: list[tuple[str, Any, Any]] = [("source", SEVERAL, None)]
    parameters += [(field, *_option(field, declared)) for field, declared in fields.items()]
    parameters.append(("open", OPEN, False))
    examples = (f"kbjobs run {kind.command} wiki", *kind.examples)
    return with_options(
        command,
        [*parameters, *SUBMIT_OPTIONS],
        "\n\n".join([kind.description, *(f"Example:  {example}" for example in examples)]),
    )


def _chain_command(chain: Chain, description: str) -> Callable[..., None]:
    """The command of a built-in chain."""

    def command(**values: Any) -> None:
        from kbjobs.services.jobs import get_job_manager

        submit_to_each(get_job_manager().find_chain(chain.name, {}), _named(values), values, values["dry_run"])

    name = chain.name.replace("_", "-")
    shown = ("wiki", "wiki --dry-run", "--all-sources")
    examples = "".join(f"\n\nExample:  kbjobs run {name} {rest}" for rest in shown)
    parameters = [("source", SOURCE_OR_ALL, None), ("dry_run", DRY_RUN, False), ("all_sources", ALL_SOURCES, False)]
    return with_options(command, [*parameters, *SUBMIT_OPTIONS], description + examples)


def _command(
    name: str, description: str, fields: Mapping[str, FieldInfo], examples: Sequence[str] = ()
) -> Callable[..., None]:
    def command(**values: Any) -> None:
        from kbjobs.services.jobs import get_job_manager

        params = {field: value for field in fields if (value := values[_name_in_python(field)]) is not None}
        params |= {
            field: _read_json(field, params[field])
            for field, declared in fields.items()
            if field in params and isinstance(params[field], str) and _is_written_as_json(declared)
        }
        submit_to_each(get_job_manager().find_chain(name, params), _named(values), values)

    parameters: list[tuple[str, Any, Any]] = [("source", SOURCE_OR_ALL, None)]
    parameters += [(_name_in_python(field), *_option(field, declared)) for field, declared in fields.items()]
    parameters.append(("all_sources", ALL_SOURCES, False))
    shown = [f"Example:  {example}" for example in (f"kbjobs run {name.replace('_', '-')} wiki", *examples)]
    return with_options(command, [*parameters, *SUBMIT_OPTIONS], "\n\n".join([description, *shown]))


def _positional_command(kind: JobType[Any], positional: str) -> Callable[..., None]:
    """The command of a type that takes one of its parameters after the source."""
    inner = _command(kind.name, kind.description, kind.params.model_fields)
    fields = {field: declared for field, declared in kind.params.model_fields.items() if field != positional}
    name, described = _name_in_python(positional), kind.params.model_fields[positional].description
    argument = typer.Argument(metavar="[URL]", help=described, show_default=False)
    parameters: list[tuple[str, Any, Any]] = [
        ("source", SOURCE, inspect.Parameter.empty),
        (name, Annotated[str | None, argument], None),
    ]
    parameters += [(_name_in_python(field), *_option(field, declared)) for field, declared in fields.items()]

    def command(**values: Any) -> None:
        inner(all_sources=False, **values)

    shown = [kind.description, *(f"Example:  {example}" for example in kind.examples)]
    return with_options(command, [*parameters, *SUBMIT_OPTIONS], "\n\n".join(shown))


def _named(values: dict[str, Any]) -> list[str]:
    return [] if values["source"] is None else [values["source"]]
