"""``kbjobs builder``: a page in the browser to compose, check, run and watch chains."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import print_json, say
from kbjobs.config.home import current_home
from kbjobs.errors import MissingRequirementError, UsageError

app = App()
DANGER = "run jobs here, spend money with their keys and delete sources"
NEEDED = ("starlette", "uvicorn", "jinja2", "sse_starlette", "tomlkit")


@app.command()
def builder(
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port to listen on (default: 8737, or another free one).", show_default=False
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow an address that other machines can reach, without encryption.")
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Accept this host name too; may be given several times.", metavar="HOST"),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="Keep the token in this file, for a service; a missing file is written.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Show everything, refuse every change.")] = False,
    search_only: Annotated[
        bool, typer.Option("--search-only", help="Serve only the search, its API, and documents.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print address and token as JSON.")] = False,
) -> None:
    """Serve a web page to compose, check, run and watch chains. Ctrl-C ends it; jobs keep running.

    The page edits the files that "kbjobs chain" runs, and submits to the same queue.

    Example:  kbjobs builder

    Example:  kbjobs builder --read-only --port 9000

    Example:  kbjobs builder --search-only --port 8737 --name kb.example.org --token-file token
    """
    missing = [module for module in NEEDED if find_spec(module) is None]
    if missing:
        raise MissingRequirementError(
            f"the builder needs packages that are not installed: {', '.join(missing)}", 'pip install "kbjobs[web]"'
        )
    from kbjobs.web.app import ServerOffer
    from kbjobs.web.server import is_loopback, listen, serve
    from kbjobs.web.token_file import keep_token

    if not is_loopback(host) and not allow_remote:
        raise UsageError(
            f"{host} can be reached from other machines without encryption: anyone who sees a request can"
            f" {'read the sources here' if search_only else DANGER}",
            "Forward a port with ssh -L instead. If you are sure, add --allow-remote.",
        )
    home = current_home()
    home.prepare()
    token = None if token_file is None else keep_token(token_file)
    listening = listen(host, port)
    chosen = int(listening.getsockname()[1])
    shown = f"[{host}]" if ":" in host else host
    names = tuple(name or ()) if is_loopback(host) else (shown, *(name or ()))

    def report_address(token: str) -> None:
        url = f"http://{shown}:{chosen}/" + (f"?token={token}" if token_file is None else "")
        if as_json:
            facts = {"url": url, "token": token if token_file is None else None, "port": chosen, "home": str(home.path)}
            print_json({**facts, "read_only": read_only, "search_only": search_only})
            sys.stdout.flush()
        else:
            say(f"The {'search' if search_only else 'job builder'} of {home.path}; Ctrl-C ends it, jobs keep running.")
            if is_loopback(host) and "SSH_CONNECTION" in os.environ:
                say(
                    "From your own machine, forward the port and open the address there:\n"
                    f"  ssh -N -L {chosen}:127.0.0.1:{chosen} {getpass.getuser()}@{socket.gethostname()}"
                )
            if token_file is not None:
                say(f"Its token is in {token_file}: open the address with ?token=TOKEN behind it.")
            print(url, flush=True)
        if show:
            import webbrowser

            webbrowser.open(f"http://{shown}:{chosen}/?token={token}")

    offer = ServerOffer.SEARCH if search_only else ServerOffer.READ_ONLY if read_only else ServerOffer.ALL
    serve(home, listening, offer, names, report_address, token)
