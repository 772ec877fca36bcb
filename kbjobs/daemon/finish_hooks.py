"""The finish hook: the operator's command (the setting ``on_finish``), run at most once after each job."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from kbjobs.config.home import HOME_VARIABLE, Home
from kbjobs.config.settings import Settings
from kbjobs.daemon.processes import FINISH_VARIABLE, kill_group, kill_processes_of_run, processes_of_run
from kbjobs.store.job_ends import PendingHook, close_hook, forget_hooks, list_taken_hooks, take_hook
from kbjobs.store.queue import Queue
from kbjobs.system.crashpoints import crash_point

AT_ONCE = 4  # commands that run at the same time: many jobs may end together
IDLE_SECONDS = 30.0
ADOPTED_SECONDS = 0.5  # between two looks at a command of an earlier daemon, since no signal announces its end

log = logging.getLogger("kbjobs.daemon")


@dataclass(slots=True)
class HookCommand:
    """A command that runs for an end, until ``deadline`` (monotonic).

    ``process`` is None if an earlier daemon started it.
    """

    end: PendingHook
    deadline: float
    process: subprocess.Popen[bytes] | None = None
    was_seen: bool = False
    killed_for: str = ""

    def status(self) -> int | None:
        """Its exit status, negative for a signal, 0 if unknown; None while it runs. Its process stays a zombie."""
        if self.process is None:
            is_there = bool(processes_of_run(self.end.token, variable=FINISH_VARIABLE))
            self.was_seen = self.was_seen or is_there
            return None if is_there else 0
        found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def describe_end(self, status: int) -> str:
        """Describe for people what went wrong at its end; '' if nothing did."""
        if self.killed_for:
            return f"was killed: {self.killed_for}"
        if self.process is None:
            if self.was_seen:
                return "ended while no daemon watched it: with what status is not known"
            return "may not have run: the daemon died just then, and it is not run again"
        if status:
            return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return ""

    def kill(self) -> None:
        """Send SIGKILL to its process group, and to any of its processes that have left the group."""
        if self.process is not None:
            kill_group(self.process.pid)  # not reaped yet, so its number cannot belong to another process
        kill_processes_of_run(self.end.token, FINISH_VARIABLE)


class FinishHooks:
    """Runs the command for ends of jobs that the state holds. The daemon's loop never waits for a command.

    An end is taken before its command starts, and a taken end never starts a command again: a kill in between loses the
    command, but no message is sent twice. The next daemon reports the loss in the job's log.
    """

    def __init__(self, home: Home, settings: Settings, queue: Queue) -> None:
        self._home, self._queue = home, queue
        self._words = settings.words("on_finish")
        self._seconds = settings.number("on_finish_seconds")
        if not self._words:
            forget_hooks(queue)
        self._running = [
            HookCommand(end, time.monotonic() + self._seconds - end.age) for end in list_taken_hooks(queue)
        ]

    @property
    def is_busy(self) -> bool:
        """Whether any command runs."""
        return bool(self._running)

    def tick(self, may_start: bool = True) -> float:
        """Reap ended commands, kill late ones and start due ones. Returns the seconds until the next look."""
        for command in list(self._running):
            self._look_at(command)
        while may_start and self._words and len(self._running) < AT_ONCE:
            end = take_hook(self._queue)
            if end is None:
                break
            crash_point("finish.taken")
            self._start(end)
        return min((self._wait_for(one) for one in self._running), default=IDLE_SECONDS)

    def kill_all(self, reason: str) -> None:
        """Kill all running commands; the next tick handles their ends."""
        for command in self._running:
            command.killed_for = command.killed_for or reason
            command.kill()

    def _wait_for(self, command: HookCommand) -> float:
        if command.process is None or command.killed_for:
            return ADOPTED_SECONDS
        return max(0.01, command.deadline - time.monotonic())

    def _look_at(self, command: HookCommand) -> None:
        status = command.status()
        if status is None:
            if time.monotonic() >= command.deadline:
                command.killed_for = command.killed_for or f"it ran longer than on_finish_seconds ({self._seconds:g})"
                command.kill()
            return
        command.kill()  # processes that it left running
        crash_point("finish.ended")
        close_hook(self._queue, command.end)
        crash_point("finish.closed")
        if problem := command.describe_end(status):
            self._report(command.end, problem)
        if command.process is not None:
            command.process.wait()
        self._running.remove(command)

    def _start(self, end: PendingHook) -> None:
        output = self._open_log(end)
        try:
            process = subprocess.Popen(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self._home.path,
                env=os.environ | self._describe(end),
            )
        except OSError as error:
            self._report(end, f"cannot be started: {error.filename or self._words[0]}: {error.strerror}")
            close_hook(self._queue, end)
            return
        finally:
            os.close(output)
        crash_point("finish.started")
        self._running.append(HookCommand(end, time.monotonic() + self._seconds, process))

    def _describe(self, end: PendingHook) -> dict[str, str]:
        """Describe the end of the job in variables of the command's environment."""
        return {
            HOME_VARIABLE: str(self._home.path),
            FINISH_VARIABLE: end.token,
            "KBJOBS_JOB_ID": str(end.job_id),
            "KBJOBS_JOB_TYPE": end.type,
            "KBJOBS_JOB_SOURCE": end.source or "",
            "KBJOBS_JOB_STATUS": str(end.status),
            "KBJOBS_JOB_EXIT_CODE": str(end.exit_code),
            "KBJOBS_JOB_SUMMARY": end.summary.replace("\0", " "),  # an environment cannot hold a NUL
        }

    def _log_file(self, end: PendingHook) -> Path:
        return self._home.log_file(end.job_id, end.attempt)

    def _open_log(self, end: PendingHook) -> int:
        """Open the log of the job's attempt; if it cannot be written, as on a full disk, the command runs without."""
        try:
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
            return os.open(self._log_file(end), flags, 0o600)
        except OSError as error:
            log.warning("job %d: its log cannot be written: %s", end.job_id, error.strerror)
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def _report(self, end: PendingHook, what: str) -> None:
        """Write the command's outcome to the daemon's log and to the job's."""
        log.warning("job %d: on_finish %s", end.job_id, what)
        output = self._open_log(end)
        try:
            os.write(output, f"{time.strftime('%Y-%m-%d %H:%M:%S')} WARNING on_finish {what}\n".encode())
        except OSError as error:  # for example a full disk; the daemon's log has the message
            log.warning("job %d: its log cannot be written: %s", end.job_id, error.strerror)
        finally:
            os.close(output)
