"""``kbjobs config``: show and change the settings."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import PurePath
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._asking import NO_INPUT
from kbjobs.commands._completion import complete_settings
from kbjobs.commands._render import is_terminal, print_json, print_table, say
from kbjobs.commands._table import Cell, Column, print_list
from kbjobs.config.home import current_home
from kbjobs.config.secrets import MAX_BYTES, set_secret
from kbjobs.config.setting_file import find_setting, remove_setting, write_setting
from kbjobs.config.settings import Settings, SettingValue
from kbjobs.errors import UsageError

app = App()

COLUMNS = (
    Column("SETTING"),
    Column("VALUE", good=16, least=9),
    Column("FROM", good=11, least=7),
    Column("MEANING", good=20, least=9),
)


@app.callback()
def config() -> None:
    """Show and change the settings.

    A setting comes from the environment (KBJOBS_NAME), from config.toml in the home, or is the default; the environment
    wins. on_finish is read from the file only.

    Example:  kbjobs config show
    """


@app.command()
def show(
    name: Annotated[
        str | None,
        typer.Argument(help="Only this setting, in full.", show_default=False, autocompletion=complete_settings),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show every setting, its value and where it came from; or one of them.

    Example:  KBJOBS_WORKERS=4 kbjobs config show

    Example:  kbjobs config show pinecone.price
    """
    values = Settings(current_home()).values
    if name is not None and name not in values:
        raise UsageError(f"there is no setting {name!r}", "List all: kbjobs config show")
    chosen = [values[name]] if name is not None else list(values.values())
    if as_json:
        print_json({one.setting.name: {"value": one.value, "origin": one.origin} for one in chosen})
    elif name is not None and is_terminal(sys.stdout):
        [one] = chosen
        facts = (("setting", name), ("value", _shown(one)), ("from", one.origin), ("meaning", one.setting.description))
        print_table(("", ""), facts)
    else:
        print_list(COLUMNS, [_row(one) for one in chosen])
        if is_terminal(sys.stdout):
            say("kbjobs config show NAME shows a setting in full.")


def _row(found: SettingValue) -> tuple[Cell, ...]:
    """A setting as a row of a table; what is no default stands out."""
    is_default = found.origin == "default"
    return (
        Cell(found.setting.name, "" if is_default else "bold"),
        Cell(_shown(found)),
        Cell(
            found.origin,
            "dim" if is_default else "",
            shorter=(PurePath(found.origin.removesuffix(found.setting.variable).rstrip()).name,),
        ),
        Cell(found.setting.description),
    )


def _shown(found: SettingValue) -> str:
    return shlex.join(found.value) if isinstance(found.value, tuple) else str(found.value)


@app.command("set")
def set_command(
    name: Annotated[
        str, typer.Argument(help="Like workers or packs.to.", show_default=False, autocompletion=complete_settings)
    ],
    value: Annotated[
        list[str], typer.Argument(help="Its value; of on_finish, the program and its arguments.", show_default=False)
    ],
) -> None:
    """Write a setting to config.toml in the home. Comments and other settings in the file stay as they are.

    Example:  kbjobs config set model all-mpnet-base-v2

    Example:  kbjobs config set packs.to s3://my-bucket/packs

    Example:  kbjobs config set on_finish /usr/local/bin/notify.sh night
    """
    home = current_home()
    written = write_setting(home, name, value)
    say(f"{name} = {shlex.join(written) if isinstance(written, tuple) else written} ({home.config_file})")
    _warn_of_environment(name)


@app.command()
def unset(
    name: Annotated[
        str, typer.Argument(help="Like workers or packs.to.", show_default=False, autocompletion=complete_settings)
    ],
) -> None:
    """Remove a setting from config.toml in the home, so that its default applies again.

    Example:  kbjobs config unset workers
    """
    home = current_home()
    removed = remove_setting(home, name)
    now = Settings(home).values[name]
    say(f"{name} is {'no longer' if removed else 'not'} set in {home.config_file}; it is {_shown(now) or 'empty'}.")
    _warn_of_environment(name)


def _warn_of_environment(name: str) -> None:
    variable = find_setting(name).variable
    if variable in os.environ:
        say(f"Note: {variable} is set in this shell and overrides it here.")


@app.command("set-secret")
def set_secret_command(
    name: Annotated[str, typer.Argument(help="Like OPENAI_API_KEY.", show_default=False)],
    no_input: NO_INPUT = False,
) -> None:
    """Store a secret for the workers, read from stdin; it is never shown again.

    Example:  kbjobs config set-secret OPENAI_API_KEY < key.txt
    """
    import getpass

    if no_input and sys.stdin.isatty():
        raise UsageError("no value was given", f"Send it to stdin: kbjobs config set-secret {name} < FILE")
    value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read(MAX_BYTES + 1)
    set_secret(current_home(), name, value)
    say(f"{name} is stored. Jobs that start from now on can use it.")


@app.command()
def path() -> None:
    """Print the home folder.

    Example:  cd "$(kbjobs config path)"
    """
    print(current_home().path)
