"""``kbjobs mcp``: search, documents and jobs for an assistant on this machine."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import is_terminal, say
from kbjobs.config.home import current_home
from kbjobs.errors import MissingRequirementError

app = App()


@app.command()
def mcp(
    allow_jobs: Annotated[
        bool, typer.Option("--allow-jobs", help="Also run and cancel jobs, which may take hours and cost money.")
    ] = False,
) -> None:
    """Serve sources to an assistant over stdin and stdout (Model Context Protocol).

    The assistant's program starts it, and can search, read and list documents, and see jobs. It changes nothing.

    With --allow-jobs it can also run and cancel jobs, but never delete a source.

    Example:  kbjobs mcp
    """
    if find_spec("mcp") is None:
        raise MissingRequirementError(
            "the server for assistants needs a package that is not installed: mcp", 'pip install "kbjobs[mcp]"'
        )
    if is_terminal(sys.stdin):
        say("Waiting for an assistant on stdin; kbjobs help assistant shows how one starts this. Ctrl-C ends it.")
    from kbjobs.assistant.mcp_server import serve

    serve(current_home(), allow_jobs=allow_jobs)
