"""``kbjobs demo``: the main job on a small real source, in a home that is thrown away."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import say
from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.config.shipped_files import find_shipped
from kbjobs.errors import NotFoundError
from kbjobs.services import daemon_control

app = App()

MODEL = "all-MiniLM-L6-v2"
SEARCHES = ("how long must water boil", "keep warm without a heater", "stop heavy bleeding")
STOP_SECONDS = 30.0


@app.command()
def demo(
    source: Annotated[
        Path | None,
        typer.Option(help="Folder of pages to use (default: the pages that come with kbjobs).", show_default=False),
    ] = None,
) -> None:
    """Try kbjobs in a temporary home: a small source, its index, three searches.

    Example:  kbjobs demo
    """
    pages = source or find_shipped("preparedness", "examples/sources/preparedness")
    if not pages.is_dir():
        raise NotFoundError(
            f"there are no pages in {pages}",
            "Name a folder of HTML, .txt or .md: kbjobs demo --source PATH.",
        )
    with tempfile.TemporaryDirectory(prefix="kbjobs-demo-") as folder:
        environment = {**os.environ, HOME_VARIABLE: folder, "KBJOBS_MODEL": MODEL}
        say(f"A temporary home: {folder}")
        steps = [
            [
                "sources",
                "add",
                "preparedness",
                str(pages),
                "--base-url",
                "https://example.org/preparedness/",
            ],
            ["run", "index-offline", "preparedness"],
            *[["search", "preparedness", words, "-k", "2"] for words in SEARCHES],
        ]
        try:
            for step in steps:
                print(
                    "\n$ kbjobs " + " ".join(f'"{part}"' if " " in part else part for part in step),
                    flush=True,
                )
                ended = subprocess.run([sys.executable, "-P", "-m", "kbjobs", *step], env=environment, check=False)
                if ended.returncode:
                    raise typer.Exit(ended.returncode)
        finally:
            daemon_control.stop(Home(Path(folder)), now=True, seconds=STOP_SECONDS)
    say("\nNext: kbjobs sources add wiki PATH, then kbjobs run index-offline wiki.")
