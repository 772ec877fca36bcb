"""What is done to jobs that wait or run: they are cancelled, paused, let go on, changed."""

from __future__ import annotations

import sqlite3

from kbjobs.daemon.launching import ensure_daemon
from kbjobs.daemon.legacy_daemon import open_queue
from kbjobs.daemon.wake_pipe import nudge
from kbjobs.errors import UnavailableError, UsageError
from kbjobs.services.job_queries import JobReader
from kbjobs.store import pauses
from kbjobs.store.connection import explain, is_disk_full
from kbjobs.store.edits import Changes, edit_job
from kbjobs.store.jobs import Job
from kbjobs.store.pauses import Held, Pause
from kbjobs.store.queue import Queue
from kbjobs.store.snapshot import Snapshot
from kbjobs.store.sources import check_source_id
from kbjobs.system.crashpoints import crash_point


class JobController(JobReader):
    """The jobs of one home, to be looked at and acted on."""

    def cancel(self, job_id: int) -> Job:
        """Record the request to cancel; a pending job is cancelled at once, a running one stops shortly.

        Where the disk is full, the space that is set aside for this is given up.
        """
        try:
            job = self._writable(job_id).cancel(job_id)
        except UnavailableError as error:
            if not is_disk_full(error.__cause__):
                raise
            self.home.give_up_reserve()
            job = self._writable(job_id).cancel(job_id)
        nudge(self.home.wake_pipe)
        return job

    def discard(self, job_id: int) -> Job:
        """Do not go on with a job that failed or was interrupted: it counts as cancelled, its checkpoint is forgotten.

        What its phases have done is kept. Raises ConflictError where it runs, waits or has succeeded.
        """
        job = self._writable(job_id).get(job_id)
        if self.is_worker_dead(job):
            return self.cancel(job_id)  # the daemon ends it once it has found that
        return self._opened().discard(job_id)

    def pause(self, source_id: str | None = None, stop_running: bool = False) -> Held:
        """Hold the jobs of a source, or all: none begins until :meth:`unpause`, whatever daemon runs.

        Those that run go on; with ``stop_running`` they stop at a checkpoint and go back to the queue. Raises
        NotFoundError where nobody knows the source.
        """
        if source_id is not None:
            self.check_filters(source_id=check_source_id(source_id))
        self.home.prepare()
        queue = self._opened()
        try:
            held = pauses.put_pause(queue.connection, source_id, stop_running)
        except sqlite3.Error as error:
            raise explain(error, queue.path) from error
        crash_point("pause.committed")
        if held.stopping:
            self._wake()  # a worker that does not stop by itself is for the daemon
        return held

    def unpause(self, source_id: str | None = None) -> Pause | None:
        """Let the jobs of a source, or all, go on; returns the pause that was, None where there was none.

        Sources that were paused by themselves stay so.
        """
        if source_id is not None:
            self.check_filters(source_id=check_source_id(source_id))
        if self._readable() is None:
            return None
        queue = self._opened()
        try:
            pause = pauses.end_pause(queue.connection, source_id)
        except sqlite3.Error as error:
            raise explain(error, queue.path) from error
        crash_point("pause.ended")
        if pause is not None and (queue.count_pending() or queue.running()):
            self._wake()
        return pause

    def edit(self, job_id: int, changes: Changes) -> Job:
        """Change the priority, moments or retries of a job that waits, and return it.

        Raises NotFoundError; ConflictError where it runs or has ended; UsageError where nothing is to be changed, or
        the job would have to end before it may begin.
        """
        if not changes:
            raise UsageError("nothing is to be changed", f"For example: kbjobs edit {job_id} --priority 5")
        job = edit_job(self._writable(job_id), job_id, changes)
        nudge(self.home.wake_pipe)
        return job

    # -- inside -----------------------------------------------------------------------------------

    def _opened(self) -> Queue:
        """The state, to be written."""
        if self._queue is None or isinstance(self._queue, Snapshot):
            self.close()
            self._queue = open_queue(self.home)
        return self._queue

    def _writable(self, job_id: int) -> Queue:
        return self._opened() if self.home.state_file.exists() else self._existing(job_id)

    def _wake(self) -> None:
        if not ensure_daemon(self.home):
            nudge(self.home.wake_pipe)
