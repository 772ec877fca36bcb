"""Checks that kbjobs doctor shows of whether jobs will run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.config.run_ids import worker_of
from kbjobs.config.settings import Settings
from kbjobs.daemon.launching import is_running
from kbjobs.daemon.processes import RUN_VARIABLE
from kbjobs.formatting import agreeing, counted
from kbjobs.store.locks import is_locked
from kbjobs.store.snapshot import open_to_read
from kbjobs.store.source_deletion import list_unfinished
from kbjobs.system.findings import Finding
from kbjobs.version import VERSION


def check_daemon(home: Home) -> Iterator[Finding]:
    """Check that a daemon runs if one is needed, and that its version is the command's."""
    queue = open_to_read(home.state_file)
    if queue is None:
        yield Finding("daemon", "ok", "no job was submitted yet")
        return
    with queue:
        waiting = len(queue.running()) + queue.count_pending()
        described = queue.daemon()
    if not is_running(home):
        if waiting:
            text = agreeing(waiting, "job", "waits", "wait")
            yield Finding("daemon", "problem", f"no daemon is running, and {text}", "kbjobs daemon start")
        else:
            yield Finding("daemon", "ok", "no daemon is running, and none is needed")
    elif described and described.version != VERSION:
        text = f"it still is that of kbjobs {described.version}, the command is of {VERSION}"
        yield Finding("daemon", "problem", text, "kbjobs daemon restart")
    else:
        yield Finding("daemon", "ok", f"process {described.pid if described else '?'} runs")


def check_on_finish(home: Home) -> Iterator[Finding]:
    """Check that the command of on_finish can be run."""
    words = Settings(home).words("on_finish")
    if words and shutil.which(home.path / words[0] if "/" in words[0] else words[0]) is None:
        text = f"{words[0]} cannot be run: it is not there, or not executable"
        yield Finding("on_finish", "problem", text, f"Write its whole path in {home.config_file}, and chmod u+x it.")
    elif words:
        yield Finding("on_finish", "ok", f"{words[0]} is run after each job")


def check_leftovers(home: Home) -> Iterator[Finding]:
    """Look for left-over processes, locks and deletions."""
    known = _running_workers(home)
    found = list(_processes_of_home(home))
    known |= _running_workers(home)  # a worker may have taken another job meanwhile
    strays = [(pid, run) for pid, run in found if run not in known]
    for pid, run in strays:
        yield Finding(
            "left-over processes", "problem", f"process {pid} is of run {run}, which has ended", f"kill {pid}"
        )
    stale = [
        path
        for path in home.daemon_lock.parent.glob("run-*.lock")
        if path.stem.removeprefix("run-") not in known and not is_locked(path)
    ]
    if stale:
        text = f"{counted(len(stale), 'lock file')} of ended runs"
        yield Finding("stale locks", "note", text, "The next daemon removes them.")
    for removal in list_unfinished(home.sources):
        text = f"what is left of the deleted source {removal.source.id} lies in {removal.hidden}"
        hint = f"The next daemon removes it, or kbjobs run delete-source {removal.source.id}."
        yield Finding("deleted sources", "note", text, hint)
    if not strays and not stale:
        yield Finding("left-over processes", "ok", "none, and no stale lock")


def _running_workers(home: Home) -> set[str]:
    """The ids of the workers of all running jobs."""
    queue = open_to_read(home.state_file)
    if queue is None:
        return set()
    with queue:
        return {worker_of(job.run_id) for job in queue.running() if job.run_id}


def _processes_of_home(home: Home) -> Iterator[tuple[int, str]]:
    wanted = str(home.path).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # the process has ended, or belongs to another user
        runs = [value for value in environment if value.startswith(RUN_VARIABLE.encode() + b"=")]
        if runs and wanted in command:
            yield int(entry.name), runs[0].partition(b"=")[2].decode(errors="replace")


def check_reboot(home: Home) -> Iterator[Finding]:
    """Check that a daemon will run after a reboot."""
    unit = Path("~/.config/systemd/user/kbjobs.service").expanduser()
    if not unit.exists():
        yield Finding(
            "reboot",
            "note",
            "after a reboot, no daemon runs until the next submit, resume or wait",
            f"mkdir -p {unit.parent} && kbjobs daemon unit > {unit} && systemctl --user enable --now kbjobs",
        )
        return
    user = os.environ.get("USER") or str(os.getuid())
    if not Path("/var/lib/systemd/linger", user).exists():
        yield Finding(
            "reboot",
            "problem",
            "the unit is installed, but ends with your last session",
            f"loginctl enable-linger {user}",
        )
    else:
        yield Finding("reboot", "ok", "the unit is installed and linger is on")
