"""``kbjobs doctor``: is everything there that a job will need?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import is_terminal, open_console, print_json, print_table
from kbjobs.commands._table import Cell, Column, fit_encoding, print_line, print_rows, wrap
from kbjobs.config.home import current_home
from kbjobs.errors import ExitCode
from kbjobs.services.doctor import examine

if TYPE_CHECKING:
    from kbjobs.system.findings import Finding

app = App()

LEVELS = {"ok": ("✓ ok", "green"), "note": ("! note", "yellow"), "problem": ("✗ problem", "red")}
COLUMNS = (Column("LEVEL"), Column("CHECK"), Column("FINDING", good=30, least=12))


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """Check everything that jobs need, and say how to fix what is missing. Changes nothing. Exits 1 on a problem.

    Example:  kbjobs doctor
    """
    findings = examine(current_home())
    is_well = not any(finding.level == "problem" for finding in findings)
    if as_json:
        print_json({"ok": is_well, "findings": [asdict(finding) for finding in findings]})
    elif is_terminal(sys.stdout):
        _draw(findings)
    else:
        print_table((), [(one.level, one.check, one.text, one.remedy) for one in findings])
    if not is_well:
        raise typer.Exit(ExitCode.FAILED)


def _draw(findings: Sequence[Finding]) -> None:
    """A line for each finding; below the table, in full, those with something to do: a remedy is not shortened."""
    from rich.text import Text

    console = open_console(sys.stdout)
    print_rows(console, COLUMNS, [(Cell(*LEVELS[one.level]), one.check, one.text) for one in findings])
    for one in findings:
        if not one.remedy and one.level == "ok":
            continue
        word, style = LEVELS[one.level]
        print_line(console, Text())
        first, *rest = wrap(console, f"{word}  {one.check}: {one.text}", console.width)
        line = Text(first, "bold")
        line.stylize(style, 0, len(word))
        for drawn in (line, *(Text(more, "bold") for more in rest)):
            print_line(console, fit_encoding(console, drawn))
        for part in wrap(console, one.remedy, console.width - 2):
            print_line(console, Text(f"  {part}"))
