"""``kbjobs restore``: a backup put back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kbjobs.commands._render import say
from kbjobs.daemon.locks import is_locked, try_lock
from kbjobs.errors import ConflictError
from kbjobs.settings import current_home
from kbjobs.store.backup import restore_backup

app = typer.Typer(add_completion=False)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What kbjobs backup wrote.", show_default=False)],
    replace: Annotated[
        bool, typer.Option("--replace", help="Move aside what the home holds, and take its place.")
    ] = False,
) -> None:
    """Put a backup into the home, after all of it was checked.

    Jobs that were running go on from their ledgers. kbjobs sources rebuild ID makes each vector store anew.

    Example:  KBJOBS_HOME=/srv/new kbjobs restore /srv/backup/kbjobs.tar
    """
    home = current_home()
    home.prepare()
    lock = try_lock(home.daemon_lock, 1.0)
    if lock is None:
        raise ConflictError("a daemon serves this home", "Stop it first: kbjobs daemon stop.")
    try:
        locks = (*home.daemon_lock.parent.glob("run-*.lock"), *home.sources.glob("*/.lock"))
        in_use = [path for path in locks if is_locked(path)]
        if in_use:
            raise ConflictError(
                f"the home is in use: {in_use[0]} is locked",
                "Wait for the worker or command, or end it; then try again.",
            )
        names = restore_backup(home, file, replace)
    finally:
        lock.release()
    say(f"{len(names)} files are restored into {home.path}.")
    say("Next: kbjobs sources rebuild ID for each source; kbjobs sources list shows them.")
