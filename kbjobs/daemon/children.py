"""The worker processes that a daemon started. A process may run several jobs: the state says which one it runs now."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass

from kbjobs.config.home import Home
from kbjobs.config.run_ids import worker_of


@dataclass(slots=True)
class Child:
    """A worker process, and since when it has had no job, by the monotonic clock.

    ``taken`` is when it last set out to take a job, in ns, as far as it was seen.
    """

    worker: str
    process: subprocess.Popen[bytes]
    idle_since: float | None = None
    taken: int = 0


class Children:
    """The living worker processes of a daemon, by the ids of the workers."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._children: dict[str, Child] = {}

    def __len__(self) -> int:
        return len(self._children)

    def __contains__(self, run_id: str | None) -> bool:
        """Whether one of them is the worker of a run."""
        return run_id is not None and worker_of(run_id) in self._children

    def add(self, run_id: str, process: subprocess.Popen[bytes]) -> None:
        """Add the process that was started for a run."""
        self._children[worker_of(run_id)] = Child(worker_of(run_id), process)

    def all(self) -> list[Child]:
        """All of them."""
        return list(self._children.values())

    def find(self, run_id: str) -> Child | None:
        """The worker of a run, if it is one of them."""
        return self._children.get(worker_of(run_id))

    def remove_ended(self) -> list[tuple[str, int]]:
        """Forget the processes that have ended: returns the ids of the workers and their exit statuses."""
        ended = []
        for child in self.all():
            status = child.process.poll()
            if status is not None:
                del self._children[child.worker]
                ended.append((child.worker, status))
        return ended

    def idlers(self, running: Collection[str]) -> list[Child]:
        """The processes without a job; ``running`` are the runs of all jobs.

        A process that has taken jobs since it was last seen without one counts as idle from now on.
        """
        workers = {worker_of(run_id) for run_id in running}
        idle = []
        for child in self.all():
            taken = self._last_taken(child)
            if child.worker in workers:
                child.idle_since = None
            else:
                if child.idle_since is None or taken != child.taken:
                    child.idle_since = time.monotonic()
                idle.append(child)
            child.taken = taken
        return idle

    def _last_taken(self, child: Child) -> int:
        try:
            return self._home.worker_lock(child.worker).stat().st_mtime_ns
        except OSError:  # the process has released its lock
            return 0
