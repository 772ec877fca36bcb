"""Starting the process of a worker."""

from __future__ import annotations

import os
import subprocess
import sys

from kbjobs.daemon.processes import OWN_VARIABLES, RUN_VARIABLE
from kbjobs.settings import Home, Settings
from kbjobs.store.jobs import Job


def start_worker(home: Home, settings: Settings, job: Job, run_id: str) -> subprocess.Popen[bytes]:
    """Start the worker of a claimed job in a session and process group of its own, its output in the attempt's log."""
    path = home.log_file(job.id, job.attempt)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    # -P: what lies in the working directory is data, never a module.
    worker = [sys.executable, "-P", "-m", "kbjobs.daemon.worker", str(home.path), str(job.id)]
    try:
        return subprocess.Popen(
            [*_niceness(settings), *worker],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            cwd=home.path,
            env=_environment(run_id),
        )
    finally:
        os.close(descriptor)


def _environment(run_id: str) -> dict[str, str]:
    own = {RUN_VARIABLE: run_id}
    # Two arenas of glibc's malloc (mallopt(3)) and not eight a core: about 35 MB less for the same speed.
    if "MALLOC_ARENA_MAX" not in os.environ:
        own["MALLOC_ARENA_MAX"] = "2"
    return {**os.environ, **own, OWN_VARIABLES: " ".join(own)}


def _niceness(settings: Settings) -> list[str]:
    """The commands in front of a worker's that make it give way to others."""
    command = []
    # nice(1) adds to what it inherits, and a daemon that a worker has started is as nice as that worker.
    missing = settings.integer("nice") - os.getpriority(os.PRIO_PROCESS, 0)
    if missing > 0:
        command += ["nice", "-n", str(missing)]
    classes = {"best-effort": "2", "idle": "3"}  # ionice(1)
    if settings.text("ionice") in classes:
        command += ["ionice", "-c", classes[settings.text("ionice")]]
    return command
