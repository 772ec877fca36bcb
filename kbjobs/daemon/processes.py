"""Find and kill the processes that a dead worker left behind: only those that carry its run's id."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from kbjobs.config.run_ids import worker_of

RUN_VARIABLE = "KBJOBS_RUN_ID"  # the first run of a worker: the id of its process
FINISH_VARIABLE = "KBJOBS_FINISH_ID"  # the same for a command that runs after a job
OWN_VARIABLES = "KBJOBS_OWN_VARIABLES"  # names of the variables that a worker has but its daemon has not


def daemon_environment() -> dict[str, str]:
    """The environment for a daemon that this process starts, without the variables of a worker or a finish hook.

    A daemon that carried either mark would be killed together with the marked processes.
    """
    own = {RUN_VARIABLE, FINISH_VARIABLE, OWN_VARIABLES, *os.environ.get(OWN_VARIABLES, "").split()}
    return {name: value for name, value in os.environ.items() if name not in own}


def processes_of_run(run_id: str, proc: Path = Path("/proc"), variable: str = RUN_VARIABLE) -> list[int]:
    """Find the living processes whose environment carries the id of a run's worker, whatever their group.

    A PID alone proves nothing: it may belong to another program by now.

    Args:
        run_id: the run's id.
        proc: where the system lists its processes.
        variable: the environment variable that holds the id.

    Returns:
        The PIDs of the processes.
    """
    wanted = f"{variable}={worker_of(run_id)}".encode()
    found = []
    for entry in proc.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            # Processes may end during the search, and other users' cannot be read.
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0") and not _is_zombie(entry):
                    found.append(int(entry.name))
    return found


def kill_processes_of_run(run_id: str, variable: str = RUN_VARIABLE) -> list[int]:
    """Send SIGKILL to all processes that carry the id of the run's worker. Returns their PIDs."""
    found = processes_of_run(run_id, variable=variable)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def kill_group(leader: int) -> None:
    """Send SIGKILL to the process group of a child that has not been waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _is_zombie(entry: Path) -> bool:
    # proc_pid_stat(5): the state is the field after the name, which is in parentheses and may hold any bytes.
    return (entry / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
