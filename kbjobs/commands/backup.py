"""``kbjobs backup``: the whole state in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kbjobs.commands._render import say
from kbjobs.settings import current_home
from kbjobs.store.backup import create_backup

app = typer.Typer(add_completion=False)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write (a tar).", show_default=False)],
) -> None:
    """Write the state and all ledgers into one file, consistent while jobs run.

    Vector stores are not in it, kbjobs sources rebuild makes them from the ledgers; nor are secrets.

    Example:  kbjobs backup /srv/backup/kbjobs.tar
    """
    names = create_backup(current_home(), file)
    say(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {len(names)} files.")
