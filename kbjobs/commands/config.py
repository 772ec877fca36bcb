"""``kbjobs config``: the settings in force."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from kbjobs.commands._asking import NO_INPUT
from kbjobs.commands._render import print_json, print_table, say
from kbjobs.config.home import current_home
from kbjobs.config.secrets import MAX_BYTES, set_secret
from kbjobs.config.settings import Settings, SettingValue
from kbjobs.errors import UsageError

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def config() -> None:
    """The settings in force and where each came from.

    A setting is given in config.toml in the home, or as KBJOBS_<NAME> in the environment, which wins; on_finish in the
    file alone.

    Example:  kbjobs config show
    """


@app.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """Show every setting, its value and where it came from.

    Example:  KBJOBS_WORKERS=4 kbjobs config show
    """
    values = Settings(current_home()).values.values()
    if as_json:
        print_json({one.setting.name: {"value": one.value, "origin": one.origin} for one in values})
        return
    rows = [(one.setting.name, _shown(one), one.origin, one.setting.description) for one in values]
    print_table(("setting", "value", "from", ""), rows)


def _shown(found: SettingValue) -> str:
    return shlex.join(found.value) if isinstance(found.value, tuple) else str(found.value)


@app.command("set-secret")
def set_secret_command(
    name: Annotated[str, typer.Argument(help="Like OPENAI_API_KEY.", show_default=False)],
    no_input: NO_INPUT = False,
) -> None:
    """Store a secret for the workers, read from stdin; it is never shown again.

    Example:  kbjobs config set-secret OPENAI_API_KEY < key.txt
    """
    import getpass
    import sys

    if no_input and sys.stdin.isatty():
        raise UsageError("no value was given", f"Send it to stdin: kbjobs config set-secret {name} < FILE")
    value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read(MAX_BYTES + 1)
    set_secret(current_home(), name, value)
    say(f"{name} is stored; jobs that start from now on can use it.")


@app.command()
def path() -> None:
    """Print the home folder.

    Example:  cd "$(kbjobs config path)"
    """
    print(current_home().path)
