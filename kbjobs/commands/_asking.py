"""Asking a person before something large is done."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from kbjobs.commands._errors import print_message, printable
from kbjobs.errors import ExitCode, UsageError

YES = Annotated[bool, typer.Option("--yes", help="Answer yes to every question.")]
NO_INPUT = Annotated[bool, typer.Option("--no-input", help="Never ask; stop instead of asking.")]


def ask_for_id(source_id: str, what: str, no_input: bool) -> str:
    """Ask a person to type the id of a source before it is deleted.

    Args:
        source_id: the source.
        what: explains what will be deleted.
        no_input: whether asking is forbidden.

    Returns:
        The answer; '' if nobody can answer.

    Raises:
        typer.Exit: Ctrl-C was pressed.
    """
    if no_input or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    print_message(what)
    try:
        return str(typer.prompt(f"Type {source_id} to delete it", default="", show_default=False, err=True)).strip()
    except typer.Abort:
        raise typer.Exit(ExitCode.CTRL_C) from None


def ask_unless(yes: bool, no_input: bool) -> Callable[[str], None]:
    """What to call with a doubt: it asks on a terminal; raises UsageError for a no, and if nobody can answer."""

    def ask(doubt: str) -> None:
        if yes:
            return
        if no_input or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(doubt, "If you are sure, give --yes. Nothing was changed.")
        try:
            is_meant = typer.confirm(f"{printable(doubt)}. Go on?", err=True)
        except typer.Abort:
            raise typer.Exit(ExitCode.CTRL_C) from None
        if not is_meant:
            raise UsageError(f"{doubt}: not confirmed", "Nothing was changed.")

    return ask
