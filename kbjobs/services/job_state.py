"""Access to the state of a home, which is opened for reading or writing when it is first needed."""

from __future__ import annotations

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.daemon.launching import ensure_daemon, is_running
from kbjobs.daemon.wake_pipe import nudge
from kbjobs.errors import NotFoundError
from kbjobs.store.jobs import Job
from kbjobs.store.locks import is_locked
from kbjobs.store.queue import Queue
from kbjobs.store.snapshot import Snapshot, open_to_read
from kbjobs.store.transitions import Status


class JobState:
    """The jobs of one home. Nothing is opened or written before it is needed."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._queue: Queue | None = None
        self._inode = 0  # of the state file seen last

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return Settings(self.home)

    def close(self) -> None:
        """Close the file."""
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    def readable(self) -> Queue | None:
        """The queue for reading, None if nothing was ever submitted; the home may be on a read-only disk."""
        if self._queue is None:
            self._queue = open_to_read(self.home.state_file)
        return self._queue

    def existing(self, job_id: int) -> Queue:
        """The queue for reading. Raises NotFoundError if there is no state, and so no such job."""
        queue = self.readable()
        if queue is None:
            raise NotFoundError(f"there is no job {job_id}", "No job was ever submitted in this home.")
        return queue

    def opened(self) -> Queue:
        """The queue for writing; a missing file is created."""
        if self._queue is None or isinstance(self._queue, Snapshot):
            from kbjobs.daemon.legacy_daemon import open_queue  # not for those who only read

            self.close()
            self._queue = open_queue(self.home)
        return self._queue

    def writable(self, job_id: int) -> Queue:
        """The queue for writing. Raises NotFoundError if there is no state, and so no such job."""
        return self.opened() if self.home.state_file.exists() else self.existing(job_id)

    def version(self) -> tuple[int, ...] | None:
        """A value that changes with every write to the state, None if there is no state; cheap to ask for.

        If another state file took its place, for example by a restore, the new one is opened.
        """
        try:
            inode = self.home.state_file.stat().st_ino
        except FileNotFoundError:
            self.close()
            return None
        if inode != self._inode:
            self.close()
            self._inode = inode
        queue = self.readable()
        return None if queue is None else (inode, *queue.changes())

    def wake(self) -> None:
        """Start a daemon, or wake the running one."""
        if not ensure_daemon(self.home):
            nudge(self.home.wake_pipe)

    def is_worker_dead(self, job: Job) -> bool:
        """Whether a job's status is running although its worker has died."""
        if job.status is not Status.RUNNING or job.run_id is None or is_locked(self.home.worker_lock(job.run_id)):
            return False
        # A worker that was just started has not taken its lock yet; one that ended properly has changed the row since.
        is_known = job.pid is not None or not is_running(self.home)
        return is_known and self.existing(job.id).get(job.id).run_id == job.run_id
