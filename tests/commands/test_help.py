"""Every command has help with an example; settings and exit codes stand in the documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from kbjobs.cli import app
from kbjobs.errors import ExitCode
from tests.conftest import ROOT, Kbjobs


def walk(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    context = typer.Context(command)
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), (*names, name))
    if names:
        yield names, command


COMMANDS = dict(walk(typer.main.get_command(app)))
EXIT_CODES = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()


def test_every_command_has_help_with_an_example() -> None:
    assert len(COMMANDS) >= 20
    without = [" ".join(names) for names, command in COMMANDS.items() if "Example:" not in (command.help or "")]
    assert not without
    for names, command in COMMANDS.items():
        assert f"kbjobs {' '.join(names)}" in command.help.partition("Example:")[2]


def test_every_option_is_explained() -> None:
    silent = [
        f"{' '.join(names)} {parameter.name}"
        for names, command in COMMANDS.items()
        for parameter in command.params
        if parameter.name != "help" and not getattr(parameter, "help", None)
    ]
    assert not silent


def test_every_exit_code_is_explained() -> None:
    codes = re.findall(r"^\| (\d+) \|", EXIT_CODES, re.MULTILINE)
    assert sorted(map(int, codes)) == sorted(map(int, ExitCode))


def test_help_is_shown_by_the_program(kbjobs: Kbjobs) -> None:
    shown = kbjobs("--help").stdout
    for name in ("run", "sources", "search", "status", "daemon"):
        assert re.search(rf"\b{name}\b", shown)
    assert "index-offline" in kbjobs("run", "--help").stdout
    assert kbjobs("--version").stdout.startswith("kbjobs ")


def test_a_typo_is_answered_with_the_nearest_word(kbjobs: Kbjobs) -> None:
    assert "Did you mean 'status'" in kbjobs("statsu", check=2).stderr
    assert "index-offline" in kbjobs("run", "index-ofline", "x", check=2).stderr
