"""Control of a home's daemon: start it, stop it, run it in the foreground, describe it to a service manager."""

from __future__ import annotations

import os
import sys

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon, stop_daemon, stop_seconds

# KillMode=mixed, because the daemon itself sends SIGTERM to the workers and waits for their checkpoints.
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
    """Start the daemon, detached; returns False if one is running already."""
    home.prepare()
    return ensure_daemon(home)


def stop(home: Home, now: bool, seconds: float | None = None) -> bool:
    """Stop the daemon; returns False if none is running.

    Args:
        home: the daemon's home.
        now: whether to kill the workers instead of waiting for a checkpoint.
        seconds: how long to wait for its end; by default a little more than its settings grant the workers.

    Raises:
        UnavailableError: it has not ended by then.
    """
    return stop_daemon(home, now, stop_seconds(home) if seconds is None else seconds)


def run(home: Home) -> None:
    """Run the daemon in this process until SIGTERM; if a newer kbjobs is installed meanwhile, it takes over."""
    from kbjobs.daemon.supervisor import Supervisor

    if Supervisor(home, is_service=True).run():
        os.execv(sys.executable, [sys.executable, "-P", "-m", "kbjobs", "daemon", "run"])


def describe_unit(home: Home) -> str:
    """A systemd user unit for the daemon of a home."""
    return UNIT.format(home=_escaped(str(home.path)), python=_escaped(sys.executable))


def _escaped(text: str) -> str:
    """Escape a text for the quotes of a unit file (systemd.syntax(7))."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
