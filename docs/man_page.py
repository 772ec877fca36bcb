"""Writes the manual page ``docs/kbjobs.1`` from the help of the commands (``make docs``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from kbjobs.cli import COMMANDS, app
from kbjobs.commands._help import GENERAL, LIMITS, OUTPUT, WHEN, HelpPage, Row, describe
from kbjobs.config.registry import SETTINGS
from kbjobs.errors import MEANINGS
from kbjobs.version import VERSION

_SUBMIT = {WHEN, LIMITS, OUTPUT}
PAGE = Path(__file__).resolve().parent / "kbjobs.1"
FILES = {
    "~/.local/share/kbjobs": 'The home: all state. KBJOBS_HOME names another one, "kbjobs config path" prints it.',
    "HOME/config.toml": "Settings.",
    "HOME/secrets.toml": "Keys, readable by their owner only.",
    "HOME/state.db": "The queue, the history and the checkpoints.",
    "HOME/sources": "A folder for each source: its manifest, ledger, collections and copied pages.",
    "HOME/logs": "A log for each attempt of a job.",
}


def make_page() -> str:
    """The manual page in the man macros of roff."""
    root = typer.Context(typer.main.get_command(app), info_name="kbjobs")
    page = describe(root)
    lines = [
        f'.TH KBJOBS 1 "" "kbjobs {VERSION}" "User commands"',
        ".SH NAME",
        r"kbjobs \- run the long jobs behind a knowledge base",
        ".SH SYNOPSIS",
        r".B kbjobs",
        r"\fICOMMAND\fR \&.\&.\&. [\fIOPTIONS\fR]",
        ".SH DESCRIPTION",
        *map(_escape, page.paragraphs),
        ".PP",
        _escape("Data goes to stdout, messages go to stderr. Every command has -h (one screen) and --help."),
        ".SH COMMANDS",
    ]
    for title, rows in page.sections.items():
        if title in dict(COMMANDS.values()):
            lines += [f".SS {_escape(title)}", *_rows(rows)]
    lines += [".SH OPTIONS OF EVERY COMMAND", *_rows(page.sections[GENERAL])]
    lines.append(".SH COMMANDS IN DETAIL")
    pages = [describe(context) for context in _walk(root)]
    for page in pages:
        lines += _describe_command(page)
    submit = next(page for page in pages if page.sections.keys() >= _SUBMIT)
    lines += [".SH OPTIONS OF EVERY SUBMIT", "Of every type of kbjobs run, and of kbjobs chain."]
    for title in sorted(_SUBMIT):
        lines += [f".SS {title}", *_rows(submit.sections[title])]
    lines += [".SH EXIT STATUS", *_rows(Row(str(int(code)), meaning) for code, meaning in MEANINGS.items())]
    lines += [".SH ENVIRONMENT", *_rows([Row("KBJOBS_HOME", "The home.")])]
    lines += _rows(Row(one.variable, f"{one.description}.") for one in SETTINGS if not isinstance(one.default, tuple))
    lines += _rows([Row("NO_COLOR", "Print without colours.")])
    lines += [".SH FILES", *_rows(Row(name, meaning) for name, meaning in FILES.items())]
    return "\n".join(lines) + "\n"


def _walk(context: Any) -> Iterator[Any]:
    """The contexts of all commands below, without groups."""
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = typer.Context(command, info_name=name, parent=context)
        if hasattr(command, "list_commands"):
            yield from _walk(inner)
        else:
            yield inner


def _describe_command(page: HelpPage) -> list[str]:
    lines = [f'.SS "{_escape(page.usage)}"']
    for number, paragraph in enumerate(page.paragraphs):
        lines += [*([".PP"] if number else []), _escape(paragraph)]
    once = {GENERAL, *(_SUBMIT if page.sections.keys() >= _SUBMIT else ())}
    for title, rows in page.sections.items():
        lines += _rows(rows) if title not in once else []
    for example in page.examples:
        lines += [".PP", ".RS 4", f"\\f(CR{_escape(example)}\\fR", ".RE"]
    return lines


def _rows(rows: Iterable[Row]) -> list[str]:
    return [line for row in rows for line in (".TP", rf"\fB{_escape(row.label)}\fR", _escape(row.text))]


def _escape(text: str) -> str:
    """The text as roff prints it: no requests, hyphens that can be copied."""
    safe = text.replace("\\", r"\e").replace("-", r"\-").replace("…", r"\&.\&.\&.").replace('"', r"\(dq")
    return rf"\&{safe}" if safe.startswith((".", "'")) else safe


def main() -> None:
    """Write it."""
    PAGE.write_text(make_page())


if __name__ == "__main__":
    main()
