"""Commands and groups of commands whose ``-h`` is one screen and whose ``--help`` is everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from kbjobs.errors import ExitCode


class Entry(NamedTuple):
    """A command in the help of its group."""

    name: str
    panel: str
    text: str


class Command(TyperCommand):
    """A command with both forms of help."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params.append(_short_help_option())

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write everything about the command."""
        _write_help(ctx, formatter)


class Group(TyperGroup):
    """A group of commands with both forms of help; called without a command, it shows the short one."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params.append(_short_help_option())

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write everything about the group."""
        _write_help(ctx, formatter)

    def list_entries(self, ctx: Any) -> Iterator[Entry]:
        """The commands that are shown: name, panel and line of help of each."""
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None) or "Commands"
                yield Entry(name, panel, command.short_help or (command.help or "").partition("\n\n")[0])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the group's own arguments."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            _show_short_help(ctx)
            raise typer.Exit(ExitCode.USAGE)
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """A Typer app made of these commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"cls": Group, "add_completion": False, "no_args_is_help": True, **options})

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run it, under the name of the program however that was started."""
        return super().__call__(*arguments, **{"prog_name": "kbjobs", **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Add a command, as Typer does."""
        return super().command(name, **{"cls": Command, **options})


def _short_help_option() -> TyperOption:
    return TyperOption(
        param_decls=["-h"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_answer_short_help,
        help="Show the options that matter most, on one screen.",
    )


def _answer_short_help(ctx: Any, param: Any, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        _show_short_help(ctx)
        raise typer.Exit


def _show_short_help(ctx: Any) -> None:
    from kbjobs.commands._help import short_help

    typer.echo(short_help(ctx))


def _write_help(ctx: Any, formatter: Any) -> None:
    from kbjobs.commands._help import full_help

    formatter.write(full_help(ctx))
