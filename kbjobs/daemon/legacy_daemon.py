"""Stop a daemon of an older program that cannot hand over, before the state gets a format that it cannot read."""

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
    """Open the queue for writing; if a daemon of an older program is in the way, replace it with one of this program.

    Its jobs stop at a checkpoint and resume with the new daemon. Raises UnavailableError if the old one cannot be
    stopped; then nothing is changed.
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
    """Call :func:`open_queue` in a process that outlives this one, a worker, which its daemon is about to stop too."""
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
