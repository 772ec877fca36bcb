"""``kbjobs builder``: a page in the browser to compose, check, run and watch chains."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from importlib.util import find_spec
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
    """
    missing = [module for module in NEEDED if find_spec(module) is None]
    if missing:
        raise MissingRequirementError(
            f"the builder needs packages that are not installed: {', '.join(missing)}", 'pip install "kbjobs[web]"'
        )
    from kbjobs.web.app import ServerOffer
    from kbjobs.web.server import is_loopback, listen, serve

    if not is_loopback(host) and not allow_remote:
        raise UsageError(
            f"{host} can be reached from other machines without encryption: anyone who sees a request can"
            f" {'read the sources here' if search_only else DANGER}",
            "Forward a port with ssh -L instead. If you are sure, add --allow-remote.",
        )
    home = current_home()
    home.prepare()
    listening = listen(host, port)
    chosen = int(listening.getsockname()[1])
    shown = f"[{host}]" if ":" in host else host
    names = tuple(name or ()) if is_loopback(host) else (shown, *(name or ()))

    def report_address(token: str) -> None:
        url = f"http://{shown}:{chosen}/?token={token}"
        if as_json:
            facts = {"url": url, "token": token, "port": chosen, "home": str(home.path)}
            print_json({**facts, "read_only": read_only, "search_only": search_only})
            sys.stdout.flush()
        else:
            say(f"The {'search' if search_only else 'job builder'} of {home.path}; Ctrl-C ends it, jobs keep running.")
            if is_loopback(host) and "SSH_CONNECTION" in os.environ:
                say(
                    "From your own machine, forward the port and open the address there:\n"
                    f"  ssh -N -L {chosen}:127.0.0.1:{chosen} {getpass.getuser()}@{socket.gethostname()}"
                )
            print(url, flush=True)
        if show:
            import webbrowser

            webbrowser.open(url)

    offer = ServerOffer.SEARCH if search_only else ServerOffer.READ_ONLY if read_only else ServerOffer.ALL
    serve(home, listening, offer, names, report_address)
