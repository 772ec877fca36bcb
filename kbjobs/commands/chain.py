"""``kbjobs chain FILE``: submit a combined job that is declared in a file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kbjobs.commands._app import App
from kbjobs.commands._completion import complete_chains, complete_sources
from kbjobs.commands._forecast import DRY_RUN
from kbjobs.commands._render import say
from kbjobs.commands._submitting import ALL_SOURCES, SUBMIT_OPTIONS, submit_own_chains, submit_to_each, with_options
from kbjobs.config.home import current_home
from kbjobs.errors import UsageError

app = App()

FILE = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE]",
        help="A chain file, or the name of a chain (kbjobs chains list); without it, each source's own.",
        show_default=False,
        autocompletion=complete_chains,
    ),
]
SOURCE = Annotated[
    list[str] | None,
    typer.Option(
        help="Run it on this source instead of the file's own; may be given several times.",
        metavar="ID",
        autocompletion=complete_sources,
    ),
]


def _chain(**values: Any) -> None:
    if values["file"] is None:
        if values["source"]:
            raise UsageError("no chain is named", "Name one: kbjobs chain NAME --source ID. Nothing was queued.")
        submit_own_chains(values, values["dry_run"])
        return
    from kbjobs.services.chain_files import read_chain_with_warnings

    found, warnings = read_chain_with_warnings(current_home(), values["file"])
    if warnings and not values["quiet"]:
        say(warnings)
    of_file = [] if values["all_sources"] else found.sources or [None]
    submit_to_each(found, values["source"] or of_file, values, values["dry_run"])


OPTIONS = (
    ("file", FILE, None),
    ("source", SOURCE, None),
    ("dry_run", DRY_RUN, False),
    ("all_sources", ALL_SOURCES, False),
    *SUBMIT_OPTIONS,
)
DESCRIPTION = """Submit a combined job declared in TOML, one for each source, and follow it to the end.

Before anything is queued, every phase is checked for what it will need.

Example:  kbjobs chain generate_source.toml --source wiki --resume

Example:  kbjobs chain generate-source --source wiki --dry-run

Example:  kbjobs chain generate-offline --all-sources --detach

Example:  kbjobs chain --all-sources
"""
app.command("chain")(with_options(_chain, OPTIONS, DESCRIPTION))
