"""Start a worker's process, and describe how it ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.daemon.processes import OWN_VARIABLES, RUN_VARIABLE
from kbjobs.daemon.progress_writer import DISK_FULL
from kbjobs.store.jobs import Job

LAST_BYTES, LAST_CHARACTERS = 4096, 200


def start_worker(home: Home, settings: Settings, job: Job, run_id: str) -> subprocess.Popen[bytes]:
    """Start the worker of a claimed job in a session of its own, with its output in the attempt's log.

    Args:
        home: the home of the job's state.
        settings: the settings in force, for the worker's niceness.
        job: the claimed job.
        run_id: the run that claimed it.

    Raises:
        OSError: the log cannot be opened, or the process cannot be started.
    """
    path = home.log_file(job.id, job.attempt)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    slots = str(settings.integer("workers"))
    # -P: files in the working directory are data, never modules.
    worker = [sys.executable, "-P", "-m", "kbjobs.daemon.worker", str(home.path), str(job.id), slots]
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


def describe_end(status: int, log: Path) -> str:
    """Describe why a worker ended without a report: by its exit status and the last line of its log."""
    if status < 0:
        return f"worker was killed by signal {-status}"
    if status == DISK_FULL:
        return "the disk of the home is full, and its worker could not record anything"
    said = _last_line(log)
    return f"worker ended with status {status}" + (f": {said}" if said else "")


def _last_line(log: Path) -> str:
    """The last line of a log, unless it is an ordinary message of the worker."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return "" if re.match(r"\d{4}-\d\d-\d\d [\d:,]+ (DEBUG|INFO) ", last) else last[:LAST_CHARACTERS]


def _environment(run_id: str) -> dict[str, str]:
    own = {RUN_VARIABLE: run_id}
    # Two arenas of glibc's malloc (mallopt(3)) instead of eight per core: about 35 MB less at the same speed.
    if "MALLOC_ARENA_MAX" not in os.environ:
        own["MALLOC_ARENA_MAX"] = "2"
    return {**os.environ, **own, OWN_VARIABLES: " ".join(own)}


def _niceness(settings: Settings) -> list[str]:
    """Commands in front of the worker's own that lower its priority."""
    command = []
    # nice(1) adds to the inherited value, and a daemon started by a worker is as nice as that worker.
    missing = settings.integer("nice") - os.getpriority(os.PRIO_PROCESS, 0)
    if missing > 0:
        command += ["nice", "-n", str(missing)]
    classes = {"best-effort": "2", "idle": "3"}  # ionice(1)
    if settings.text("ionice") in classes:
        command += ["ionice", "-c", classes[settings.text("ionice")]]
    return command
