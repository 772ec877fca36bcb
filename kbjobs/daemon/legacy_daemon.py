"""A daemon of an older program that does not hand over is stopped before the state gets a format it does not know."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.daemon.launching import ensure_daemon, log_to_file, stop_daemon, stop_seconds
from kbjobs.daemon.processes import daemon_environment
from kbjobs.errors import UnavailableError
from kbjobs.store.queue import Queue
from kbjobs.store.state import OlderDaemonError

log = logging.getLogger("kbjobs.daemon")


def open_queue(home: Home) -> Queue:
    """The queue, to be written. Where a daemon of an older program stands in the way, one of this takes its place.

    Its jobs stop at a checkpoint and resume with the new one. Raises UnavailableError if it cannot be stopped; then
    nothing is changed.
    """
    try:
        return Queue(home.state_file)
    except OlderDaemonError as error:
        log.warning("%s: stopping it. Its jobs stop at a checkpoint and resume with the new one.", error.message)
        try:
            stop_daemon(home, now=False, seconds=stop_seconds(home))
        except UnavailableError as failure:
            hint = "Run kbjobs daemon stop --now, then the same again. Nothing was changed."
            raise UnavailableError(f"{error.message}, and cannot be stopped: {failure.message}", hint) from failure
        queue = Queue(home.state_file)
        ensure_daemon(home)
        return queue


def start_successor(home: Home) -> None:
    """As :func:`open_queue`, in a process of its own that outlives this one: a worker, which its daemon stops too."""
    subprocess.Popen(
        [sys.executable, "-P", "-m", "kbjobs.daemon.legacy_daemon", str(home.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=daemon_environment(),
    )


def main() -> None:
    """Entry point of the successor's process."""
    os.umask(0o077)
    home = Home(Path(sys.argv[1]))
    log_to_file(home.daemon_log)
    open_queue(home).close()


if __name__ == "__main__":
    main()
