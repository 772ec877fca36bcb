"""``kbjobs backup``: the whole state in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import print_json, say
from kbjobs.config.home import current_home
from kbjobs.errors import ExitCode
from kbjobs.formatting import counted
from kbjobs.services.backup import create_backup

app = App()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write (a tar).", show_default=False)],
    without_pages: Annotated[
        bool, typer.Option("--without-pages", help="Leave out the files that sources add --copy copied.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Write state, settings, chains, ledgers and copied pages into one file. It is consistent even while jobs run.

    The backup leaves out vector stores ("kbjobs sources rebuild" makes them from the ledgers), models, engines, maps,
    logs and secrets. Exits 3 if a damaged source could not be saved whole.

    Example:  kbjobs backup /srv/backup/kbjobs.tar
    """
    written = create_backup(current_home(), file, with_pages=not without_pages)
    if as_json:
        print_json(written.as_dict())
    else:
        say(f"{file}: {written.size / 1e6:.1f} MB, {counted(written.files, 'file')}.")
        say(f"Left out: {', '.join(written.left_out)}.")
    for source_id, problem in written.damaged.items():
        say(f"Source {source_id} is not complete in it: {problem}")
    if written.damaged:
        raise typer.Exit(ExitCode.PARTIAL)
