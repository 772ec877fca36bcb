"""``kbjobs daemon``: the process that runs the jobs."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from kbjobs.commands._app import App
from kbjobs.commands._render import age, print_json, say
from kbjobs.config.home import current_home
from kbjobs.services import daemon_control
from kbjobs.services.jobs import get_job_manager

app = App()

JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
NOW = Annotated[bool, typer.Option("--now", help="Kill the workers instead of waiting for a checkpoint.")]


@app.callback()
def daemon() -> None:
    """Start, stop, restart and inspect the daemon.

    A submit starts it where none runs; it survives the end of the session.

    Example:  kbjobs daemon status
    """


@app.command()
def start(as_json: JSON = False) -> None:
    """Start the daemon in the background.

    Example:  kbjobs daemon start
    """
    is_started = daemon_control.start(current_home())
    if as_json:
        print_json({"started": is_started, **asdict(get_job_manager().get_daemon())})
    else:
        say("The daemon has started." if is_started else "A daemon is already running.")


@app.command()
def stop(now: NOW = False, as_json: JSON = False) -> None:
    """Stop the daemon. Its jobs stop at a checkpoint and return to the queue.

    Example:  kbjobs daemon stop
    """
    is_stopped = daemon_control.stop(current_home(), now)
    if as_json:
        print_json({"stopped": is_stopped, "running": False})
    else:
        say("The daemon has ended." if is_stopped else "No daemon is running.")


@app.command()
def restart(now: NOW = False, as_json: JSON = False) -> None:
    """Stop and start the daemon, for example after a change of settings or of the environment.

    Example:  kbjobs daemon restart
    """
    if not as_json:
        stop(now)
    else:
        daemon_control.stop(current_home(), now)
    start(as_json)


@app.command()
def status(as_json: JSON = False) -> None:
    """Say whether the daemon is running. Exits 0 either way.

    Example:  kbjobs daemon status --json
    """
    found = get_job_manager().get_daemon()
    if as_json:
        print_json(asdict(found))
    elif found.running:
        print(f"running: process {found.pid}, kbjobs {found.version}, started {age(found.started_at)}")
    else:
        print("not running")


@app.command()
def unit() -> None:
    """Print a systemd user unit for this home.

    Example:  kbjobs daemon unit > ~/.config/systemd/user/kbjobs.service
    """
    print(daemon_control.describe_unit(current_home()), end="")


@app.command()
def run() -> None:
    """Run the daemon in the foreground, for a service manager; SIGTERM stops it gracefully.

    Example:  kbjobs daemon run
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    daemon_control.run(current_home())
