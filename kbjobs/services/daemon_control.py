"""The daemon of a home: started, stopped, run in the foreground, described to a service manager."""

from __future__ import annotations

import os
import sys

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon, stop_daemon, stop_seconds

# The workers get SIGTERM from the daemon, which waits for their checkpoints; hence KillMode=mixed.
UNIT = """\
[Unit]
Description=kbjobs: the long jobs behind a knowledge base

[Service]
Environment="KBJOBS_HOME={home}"
ExecStart="{python}" -P -m kbjobs daemon run
KillMode=mixed
TimeoutStopSec=90
Restart=on-failure
RestartSec=5

[Install]
WantedBy=default.target
"""


def start(home: Home) -> bool:
    """Start the daemon, detached; False if one runs already."""
    home.prepare()
    return ensure_daemon(home)


def stop(home: Home, now: bool, seconds: float | None = None) -> bool:
    """Stop the daemon; False if none runs.

    Args:
        home: of the daemon.
        now: kill the workers instead of waiting for a checkpoint.
        seconds: how long to wait for its end; by default what its settings grant the workers, and a little more.

    Raises:
        UnavailableError: it has not ended by then.
    """
    return stop_daemon(home, now, stop_seconds(home) if seconds is None else seconds)


def run(home: Home) -> None:
    """Run the daemon in this process until SIGTERM; a newer program that is installed meanwhile takes its place."""
    from kbjobs.daemon.supervisor import Supervisor

    if Supervisor(home, is_service=True).run():
        os.execv(sys.executable, [sys.executable, "-P", "-m", "kbjobs", "daemon", "run"])


def describe_unit(home: Home) -> str:
    """A systemd user unit for the daemon of a home."""
    return UNIT.format(home=_escaped(str(home.path)), python=_escaped(sys.executable))


def _escaped(text: str) -> str:
    """The text as it stands between the quotes of a unit file (systemd.syntax(7))."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
