"""``kbjobs chain FILE``: submit a combined job that is declared in a file."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from kbjobs.commands._forecast import DRY_RUN, show_forecast
from kbjobs.commands._render import say
from kbjobs.commands._submitting import SUBMIT_OPTIONS, submit, with_options
from kbjobs.settings import current_home

app = typer.Typer(add_completion=False)

FILE = Annotated[
    str, typer.Argument(help="A chain file, or the name of a chain (kbjobs chains list).", show_default=False)
]
SOURCE = Annotated[
    list[str] | None,
    typer.Option(help="Run it on this source, not on those of the file; may be given several times.", metavar="ID"),
]


def _chain(**values: Any) -> None:
    from kbjobs.chains.file.reading import read_chain_with_warnings
    from kbjobs.chains.library import find_chain_file

    found, warnings = read_chain_with_warnings(find_chain_file(current_home(), values["file"]))
    if warnings and not values["quiet"]:
        say(warnings)
    sources = values["source"] or found.sources or [None]
    if values["dry_run"]:
        show_forecast(found, sources, values["as_json"])
    else:
        submit(found, sources, values)


OPTIONS = (
    ("file", FILE, inspect.Parameter.empty),
    ("source", SOURCE, None),
    ("dry_run", DRY_RUN, False),
    *SUBMIT_OPTIONS,
)
DESCRIPTION = """Submit a combined job declared in TOML, one for each source, and follow it to its end.

Every phase is checked for what it will need before anything is queued. Examples are in examples/chains/.

Example:  kbjobs chain generate_source.toml --source wiki --resume

Example:  kbjobs chain generate-source --source wiki --dry-run
"""
app.command("chain")(with_options(_chain, OPTIONS, DESCRIPTION))
