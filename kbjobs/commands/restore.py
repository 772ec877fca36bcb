"""``kbjobs restore``: a backup put back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import say
from kbjobs.config.home import current_home
from kbjobs.config.settings import Settings
from kbjobs.formatting import agreeing
from kbjobs.services.backup import restore as put_back

app = App()


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="The backup file.", show_default=False)],
    replace: Annotated[
        bool, typer.Option("--replace", help="Move the present contents of the home aside first.")
    ] = False,
) -> None:
    """Restore a backup into the home. The whole file is checked first.

    Jobs that were running resume from their ledgers. "kbjobs sources rebuild ID" rebuilds each vector store.

    Example:  KBJOBS_HOME=/srv/new kbjobs restore /srv/backup/kbjobs.tar
    """
    home = current_home()
    restored = put_back(home, file, replace)
    say(f"{agreeing(restored.files, 'file', 'is', 'are')} restored into {home.path}.")
    for source_id, paths in restored.missing.items():
        say(f"Source {source_id}: its copied files were not in the backup. Put them back: {', '.join(map(str, paths))}")
    if command := Settings(home).words("on_finish"):
        shown = " ".join(map(shlex.quote, command))
        say(
            f"Its config.toml has a command run after each job: {shown}. If it is not yours, remove it: kbjobs config"
            " unset on_finish."
        )
    say("Next: kbjobs sources rebuild ID for each source; kbjobs sources list shows them.")
