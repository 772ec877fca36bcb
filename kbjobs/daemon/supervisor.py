"""The daemon: claims jobs, starts one worker for each, watches the workers, and recovers the jobs of dead ones.

It is light on purpose: it knows rows, processes and locks, but not what a job does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from types import FrameType

from kbjobs.config.home import Home
from kbjobs.config.run_ids import new_run_id, worker_of
from kbjobs.config.secrets import names_in_environment
from kbjobs.config.settings import Settings
from kbjobs.daemon.children import Children
from kbjobs.daemon.deletions import finish_deletions
from kbjobs.daemon.finish_hooks import FinishHooks
from kbjobs.daemon.guard import mark_guarded
from kbjobs.daemon.handover import give_start_lock, keep_start_lock
from kbjobs.daemon.housekeeping import Housekeeping
from kbjobs.daemon.processes import kill_processes_of_run, processes_of_run
from kbjobs.daemon.programs import InstalledProgram
from kbjobs.daemon.replacements import recover_swaps
from kbjobs.daemon.wake_pipe import WakePipe
from kbjobs.daemon.worker_process import describe_end, start_worker
from kbjobs.errors import ConflictError
from kbjobs.store.connection import is_disk_full
from kbjobs.store.jobs import Job
from kbjobs.store.locks import is_locked, try_lock
from kbjobs.store.queue import Queue, StaleWorkerError
from kbjobs.store.run_outcomes import REPLACED, STOPPED
from kbjobs.store.state import STATE_VERSION
from kbjobs.system.crashpoints import crash_point
from kbjobs.version import VERSION, installed_version

IDLE_SECONDS = 30.0  # between two looks if nothing runs and nobody nudges
MIN_WAIT_SECONDS = 0.05  # a moment that has just passed is handled by the next look
BUSY_SECONDS = 5.0  # the same while jobs run; the end of a worker wakes at once
ADOPTED_SECONDS = 0.5  # while a worker of an earlier daemon runs, since no signal announces its end
TROUBLE_SECONDS = 2.0  # after an error of the state (a full disk, a long lock)
LOCK_SECONDS = 2.0  # for processes that only check whether a daemon runs to release its lock

log = logging.getLogger("kbjobs.daemon")


class Supervisor:
    """The daemon's loop over one home."""

    def __init__(self, home: Home, is_service: bool = False) -> None:
        """``is_service``: a service manager restarts this daemon if it dies, so its workers need not."""
        self.home = home
        self._is_guarded = not is_service
        self.settings = Settings(home)
        self._children = Children(home)
        self._stop_sent: dict[str, float] = {}  # run id -> when SIGTERM was sent, monotonic
        self._stopping = False
        self._kill_now = False
        self._program = InstalledProgram()
        self._housekeeping = Housekeeping(home)
        self._is_superseded = False  # a newer program was installed, or has written the state
        self._overdue: dict[str, float] = {}  # run id -> when its time limit was first seen to have passed, monotonic
        self._beats: dict[str, tuple[int, float]] = {}  # run id -> last heartbeat, and when it was first seen
        self._last_tick = time.monotonic()
        self._last_jobs_ended: float | None = None  # when the last job ended while the daemon ends, monotonic

    def run(self, on_ready: Callable[[], None] = lambda: None) -> bool:
        """Serve until SIGTERM or SIGINT, or until a newer program takes over. Returns whether one does.

        Raises ConflictError if a daemon runs already.
        """
        self.home.prepare()
        lock = try_lock(self.home.daemon_lock, LOCK_SECONDS)
        if lock is None:
            raise ConflictError("a daemon is already running in this home", "See kbjobs daemon status.")
        try:
            return self._serve(on_ready)
        finally:
            with contextlib.suppress(OSError):
                lock.release()
            log.info("daemon %d has ended", os.getpid())

    def _serve(self, on_ready: Callable[[], None]) -> bool:
        """Serve while this process holds the lock. Returns whether a newer program takes over."""
        self._queue = Queue(self.home.state_file)
        self._state_inode = self.home.state_file.stat().st_ino
        self._pipe = WakePipe(self.home.wake_pipe)
        self._install_signals()
        try:
            has_command = bool(self.settings.words("on_finish"))
            self._queue.describe_daemon(os.getpid(), VERSION, names_in_environment(), has_command)
            crash_point("daemon.described")
            log.info("daemon %d of kbjobs %s serves %s", os.getpid(), VERSION, self.home.path)
            mark_guarded(self.home, self._is_guarded)
            give_start_lock(self.home)
            on_ready()
            self._sweep_locks()
            self._finishing = FinishHooks(self.home, self.settings, self._queue)
            # In a thread: a large source takes minutes, and jobs must not wait for it.
            for finish in (finish_deletions, recover_swaps):
                threading.Thread(target=finish, args=(self.home,), name=finish.__name__, daemon=True).start()
            self._loop()
            if self._is_superseded and not self._stopping:
                keep_start_lock(self.home)
        finally:
            self._pipe.close()
            self._queue.close()
        return self._is_superseded and not self._stopping

    def _sweep_locks(self) -> None:
        """Remove the lock files of ended runs. A kill leaves the file behind, but never the lock."""
        running = {self.home.worker_lock(job.run_id) for job in self._queue.running() if job.run_id}
        for path in self.home.daemon_lock.parent.glob("run-*.lock"):
            if path not in running and not is_locked(path):
                path.unlink(missing_ok=True)

    def _install_signals(self) -> None:
        # The handlers only set flags; the wake-up descriptor ends the wait.
        self._signal_read, signal_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(signal_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._kill_now = self._kill_now or number == signal.SIGQUIT

    def _loop(self) -> None:
        while True:
            if not self._state_is_ours():
                log.error("%s was removed or replaced: the daemon and its workers end", self.home.state_file)
                mark_guarded(self.home, False)
                self._kill_children()
                return
            try:
                wait = self._tick()
            except (sqlite3.Error, OSError) as error:
                log.error("the state cannot be used now, trying again: %s", error)
                if is_disk_full(error):
                    self.home.give_up_reserve()
                if self._stopping:
                    # Without the state no job can be given back; the next daemon recovers those whose workers are
                    # killed here.
                    self._kill_children()
                    return
                wait = TROUBLE_SECONDS
            if (self._stopping or self._is_superseded) and wait == 0:
                return
            select.select([self._pipe.descriptor, self._signal_read], [], [], wait)
            self._pipe.drain()
            with contextlib.suppress(BlockingIOError):
                os.read(self._signal_read, 4096)

    def _state_is_ours(self) -> bool:
        try:
            return self.home.state_file.stat().st_ino == self._state_inode
        except FileNotFoundError:
            return False

    def _tick(self) -> float:
        """Do all that is due. Returns the seconds to wait, 0 if the daemon may end."""
        if self._stopping:
            mark_guarded(self.home, False)
        self._reap_children()
        running = self._recover(self._queue.running())
        self._kill_stalled(running)
        wait = self._stop_workers(running)
        wait = min(wait, self._end_idlers({job.run_id for job in running if job.run_id}))
        if self._stopping or self._notices_newer_program():
            if running or self._children or (self._program.is_being_replaced() and not self._stopping):
                return min(wait, ADOPTED_SECONDS)
            return self._end_commands()
        for job_id in self._queue.expire_pending():
            log.info("job %d: time limit reached before it could run", job_id)
        wait = min(wait, self._finishing.tick())
        self._housekeeping.start_if_due()
        workers = self.settings.integer("workers")
        while len(running) < workers:
            job = self._start_next()
            if job is None:
                break
            running.append(job)
        if any(job.run_id not in self._children for job in running):
            wait = min(wait, ADOPTED_SECONDS)
        due = self._queue.next_due()
        if due is not None:
            wait = min(wait, max(due, MIN_WAIT_SECONDS))
        return min(wait, BUSY_SECONDS if running else IDLE_SECONDS)

    def _end_commands(self) -> float:
        """Let the commands of on_finish end, within the grace if the daemon must stop. Returns the seconds to wait."""
        now = time.monotonic()
        self._last_jobs_ended = self._last_jobs_ended or now
        wait = self._finishing.tick(may_start=False)
        if self._stopping:
            grace = 0.0 if self._kill_now else self.settings.number("grace_seconds")
            wait = min(wait, max(MIN_WAIT_SECONDS, self._last_jobs_ended + grace - now))
            if now >= self._last_jobs_ended + grace:
                self._finishing.kill_all("the daemon stopped")
        return wait if self._finishing.is_busy else 0.0

    def _notices_newer_program(self, at_once: bool = False) -> bool:
        """Whether this process must not start more jobs, because their workers would run a program that it does not
        know.

        ``at_once``: look even if the last look was a moment ago.
        """
        if not self._is_superseded:
            state = self._queue.state_version()
            if self._program.is_replaced(at_once) or state > STATE_VERSION:
                self._is_superseded = True
                log.info(
                    "kbjobs %s (state format %d) takes over once the running jobs have ended",
                    installed_version(),
                    state,
                )
        return self._is_superseded

    # -- starting ---------------------------------------------------------------------------------

    def _start_next(self) -> Job | None:
        run_id = new_run_id()
        job = self._queue.claim(run_id, self.settings.integer("workers"))
        if job is None:
            return None
        crash_point("daemon.claimed")
        try:
            process = self._spawn(job, run_id)
        except OSError as error:
            self._record_death(job.id, run_id, f"its worker could not be started: {error}")
            return None
        crash_point("daemon.started_worker")
        self._children.add(run_id, process)
        log.info("job %d attempt %d: worker %d started", job.id, job.attempt, process.pid)
        return job

    def _spawn(self, job: Job, run_id: str) -> subprocess.Popen[bytes]:
        """Start the worker's process."""
        return start_worker(self.home, self.settings, job, run_id)

    # -- watching and recovering ------------------------------------------------------------------

    def _reap_children(self) -> None:
        ended = self._children.remove_ended()
        # Read after their ends: a worker may have taken another job since the last look.
        running = self._queue.running() if ended else []
        for worker, status in ended:
            # Kill its whole group first: a child of the worker may still write to the source.
            for pid in kill_processes_of_run(worker):
                log.warning("worker %s: process %d was left over and is killed", worker, pid)
            self._notices_newer_program(at_once=True)
            for job in running:
                if job.run_id is not None and worker_of(job.run_id) == worker:
                    self._record_death(
                        job.id, job.run_id, describe_end(status, self.home.log_file(job.id, job.attempt))
                    )
            self.home.worker_lock(worker).unlink(missing_ok=True)

    def _kill_children(self) -> None:
        for child in self._children.all():
            kill_processes_of_run(child.worker)

    def _kill_worker(self, job: Job) -> list[int]:
        """Send SIGKILL to the worker of a running job, unless it has another job by now. Returns the PIDs."""
        assert job.run_id is not None  # noqa: S101
        return kill_processes_of_run(job.run_id) if self._queue.is_running(job.id, job.run_id) else []

    def _recover(self, running: list[Job]) -> list[Job]:
        """Requeue jobs whose workers died under earlier daemons. Returns the jobs that do run."""
        alive = []
        for job in running:
            assert job.run_id is not None  # noqa: S101 — a running job has a run
            if job.run_id in self._children or self._is_alive(job):
                alive.append(job)
                continue
            kill_processes_of_run(job.run_id)
            if processes_of_run(job.run_id):
                alive.append(job)  # not dead yet: its source stays locked until it is
                continue
            try:
                self._record_death(job.id, job.run_id, "its worker died while no daemon ran")
            except sqlite3.IntegrityError as error:  # a problem with one job must not stop the others
                log.error(
                    "job %d cannot be given back to the queue: %s; the others run, kbjobs doctor looks at the state",
                    job.id,
                    error,
                )
                continue
            self.home.worker_lock(job.run_id).unlink(missing_ok=True)
        return alive

    def _kill_stalled(self, running: list[Job]) -> None:
        """Send SIGKILL to workers that live but have given no heartbeat for too long (a hung disk, SIGSTOP)."""
        now = time.monotonic()
        # If this process itself was stopped or the machine slept, silence proves nothing.
        slept = now - self._last_tick > 2 * IDLE_SECONDS
        self._last_tick = now
        seen: dict[str, tuple[int, float]] = {}
        for job in running:
            assert job.run_id is not None  # noqa: S101
            beat, since = self._beats.get(job.run_id, (-1, now))
            seen[job.run_id] = (job.beat, now if slept or beat != job.beat else since)
            if now - seen[job.run_id][1] > self.settings.number("stall_after"):
                log.warning(
                    "job %d: its worker gave no heartbeat for %.0f s and is killed", job.id, now - seen[job.run_id][1]
                )
                self._kill_worker(job)
        self._beats = seen

    def _is_alive(self, job: Job) -> bool:
        """Whether the worker itself lives: it must hold its lock, not just a child that inherited it."""
        assert job.run_id is not None  # noqa: S101
        if not is_locked(self.home.worker_lock(job.run_id)):
            return False
        return job.pid is None or job.pid in processes_of_run(job.run_id)

    def _record_death(self, job_id: int, run_id: str, reason: str) -> None:
        crash_point("daemon.before_recovery")
        is_replaced = self._notices_newer_program(at_once=True)
        if (self._stopping or is_replaced) and not self._queue.get(job_id).cancel_requested:
            with contextlib.suppress(StaleWorkerError):  # the worker gave the job back on its own
                self._queue.release(job_id, run_id, REPLACED if is_replaced else STOPPED)
                log.info("job %d goes back to the queue: %s", job_id, reason)
            return
        job = self._queue.record_death(job_id, run_id, reason, self.settings.integer("max_deaths"))
        crash_point("daemon.recovered")
        if job is not None:
            log.warning("job %d: %s; it is %s now", job_id, reason, job.status)

    # -- stopping ---------------------------------------------------------------------------------

    def _stop_workers(self, running: list[Job]) -> float:
        """Send SIGTERM to workers that must stop, SIGKILL after the grace. Returns the seconds to the next step."""
        grace = 0.0 if self._kill_now else self.settings.number("grace_seconds")
        wait = IDLE_SECONDS
        runs = {job.run_id for job in running}
        for seen in (self._stop_sent, self._overdue):
            for run_id in seen.keys() - runs:
                del seen[run_id]
        for job in running:
            assert job.run_id is not None  # noqa: S101
            now = time.monotonic()
            seconds_left = self._seconds_left(job, now)
            if not (self._stopping or job.cancel_requested or job.pause_requested or seconds_left <= 0):
                wait = min(wait, seconds_left)
                continue
            since = self._stop_sent.get(job.run_id)
            if since is None:
                self._stop_sent[job.run_id] = since = now
                self._terminate(job)
            if now - since >= grace:
                for pid in self._kill_worker(job):
                    log.warning("job %d: process %d did not stop in time and is killed", job.id, pid)
                wait = min(wait, ADOPTED_SECONDS)
            else:
                wait = min(wait, grace - (now - since))
        return wait

    def _seconds_left(self, job: Job, now: float) -> float:
        """Seconds that a job beyond its time limit still has to reach a checkpoint on its own."""
        assert job.run_id is not None  # noqa: S101
        if not job.is_out_of_time():
            self._overdue.pop(job.run_id, None)
            return IDLE_SECONDS
        return self._overdue.setdefault(job.run_id, now) + self.settings.number("stall_after") - now

    def _end_idlers(self, running: set[str]) -> float:
        """Send SIGKILL to workers that do not end after their job has. Returns the seconds to the next look."""
        grace = 0.0 if self._kill_now else self.settings.number("grace_seconds")
        now = time.monotonic()
        idlers = self._children.idlers(running)
        for child in idlers:
            if self._stopping:
                child.process.terminate()  # so that it takes no other job
            if child.idle_since is not None and now - child.idle_since >= grace:
                kill_processes_of_run(child.worker)
        return ADOPTED_SECONDS if idlers else IDLE_SECONDS

    def _terminate(self, job: Job) -> None:
        crash_point("daemon.before_sigterm")
        if not self._queue.is_running(job.id, job.run_id or ""):
            return  # its worker may have another job by now
        child = self._children.find(job.run_id or "")
        if child is not None:
            child.process.terminate()
        elif job.pid is not None and job.pid in processes_of_run(job.run_id or ""):
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.pid, signal.SIGTERM)
