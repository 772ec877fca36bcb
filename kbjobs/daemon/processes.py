"""Finding and ending what a dead worker left behind: only processes that carry its run's id."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

RUN_VARIABLE = "KBJOBS_RUN_ID"
FINISH_VARIABLE = "KBJOBS_FINISH_ID"  # the same of a command that is run after a job
OWN_VARIABLES = "KBJOBS_OWN_VARIABLES"  # names of the variables that a worker has and its daemon has not


def daemon_environment() -> dict[str, str]:
    """The environment for a daemon that this process starts: without what belongs to a worker or a command after a job.

    A daemon that carried the mark of either would be killed with it.
    """
    own = {RUN_VARIABLE, FINISH_VARIABLE, OWN_VARIABLES, *os.environ.get(OWN_VARIABLES, "").split()}
    return {name: value for name, value in os.environ.items() if name not in own}


def processes_of_run(run_id: str, proc: Path = Path("/proc"), variable: str = RUN_VARIABLE) -> list[int]:
    """Find the living processes whose environment carries a run's id, whatever their group.

    A PID alone proves nothing: it may have been given to another program since.

    Args:
        run_id: the run's id.
        proc: where the system lists its processes.
        variable: the environment variable that holds the id.

    Returns:
        Their PIDs.
    """
    wanted = f"{variable}={run_id}".encode()
    found = []
    for entry in proc.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            # Processes end while we look, and those of others may not be read.
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0") and not _is_zombie(entry):
                    found.append(int(entry.name))
    return found


def kill_processes_of_run(run_id: str, variable: str = RUN_VARIABLE) -> list[int]:
    """SIGKILL whatever carries the run's id; returns the PIDs that were told."""
    found = processes_of_run(run_id, variable=variable)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def kill_group(leader: int) -> None:
    """SIGKILL to the process group of a child that has not been waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _is_zombie(entry: Path) -> bool:
    # proc_pid_stat(5): the state is the field after the name, which stands in parentheses and is any bytes.
    return (entry / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
