"""Start, stop and find the daemon, from a client's side."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.daemon.guard import is_service, mark_guarded
from kbjobs.daemon.processes import daemon_environment
from kbjobs.errors import KbjobsError, UnavailableError
from kbjobs.store.locks import is_held_by, is_locked, try_lock
from kbjobs.store.snapshot import open_to_read

START_SECONDS = 30.0
MARGIN_SECONDS = 20.0  # beyond the grace, for the kernel and the disk to finish off killed processes
NOBODY = -1
LOG_BYTES, LOG_FILES = 1_000_000, 3

# Kept so that a long-lived caller reaps the daemons it started.
_started: list[subprocess.Popen[bytes]] = []


def is_running(home: Home) -> bool:
    """Whether a daemon is running in this home."""
    return is_locked(home.daemon_lock)


def ensure_daemon(home: Home, is_wanted: Callable[[], bool] = lambda: True) -> bool:
    """Start a detached daemon if none runs. Returns whether one was started.

    ``is_wanted`` is asked while nobody else can start or stop a daemon. Raises UnavailableError with the daemon's own
    message if it cannot start.
    """
    if is_running(home):
        return False
    with _nobody_else_starts(home):
        if is_running(home) or not is_wanted():
            return False
        _start(home)
        return True


@contextlib.contextmanager
def _nobody_else_starts(home: Home) -> Iterator[None]:
    """Hold the start lock. Raises UnavailableError if another process keeps it too long."""
    try:
        lock = try_lock(home.start_lock, START_SECONDS)
    except OSError:  # on a read-only disk nobody can start a daemon, but a running one can be stopped
        yield
        return
    if lock is None:
        message = "another process has been starting or stopping the daemon for too long"
        raise UnavailableError(message, f"See {home.daemon_log}.")
    try:
        yield
    finally:
        lock.release()


def _start(home: Home) -> None:
    ready, answering = os.pipe()
    try:
        process = subprocess.Popen(
            _command(home, answering),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(answering,),
            cwd="/",
            env=daemon_environment(),
        )
    finally:
        os.close(answering)
    _started.append(process)
    answer = _read_answer(ready)
    if answer == "ready":
        return
    if answer is None:
        process.kill()
        answer = f"it was not ready after {START_SECONDS:.0f} s"
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(START_SECONDS)  # the daemon may hold the lock until it has ended
    if is_running(home):
        return  # somebody else has started one at the same time
    message, _, hint = answer.partition("\n")
    raise UnavailableError(
        f"the daemon cannot start: {message or 'it ended at once'}", hint or f"See {home.daemon_log}."
    )


def _read_answer(descriptor: int) -> str | None:
    deadline = time.monotonic() + START_SECONDS
    answer = b""
    try:
        while (left := deadline - time.monotonic()) > 0:
            if select.select([descriptor], [], [], left)[0]:
                part = os.read(descriptor, 4096)
                if not part:
                    return answer.decode(errors="replace")
                answer += part
        return None
    finally:
        os.close(descriptor)


def stop_seconds(home: Home) -> float:
    """The longest time in seconds that a daemon takes to stop: its jobs have the grace to reach a checkpoint."""
    return Settings(home).number("grace_seconds") + MARGIN_SECONDS


def stop_daemon(home: Home, now: bool, seconds: float) -> bool:
    """Stop the daemon and wait until it has ended.

    Args:
        home: the home that the daemon serves.
        now: whether to kill its jobs first; otherwise they stop at a checkpoint and go back to pending.
        seconds: how long to wait.

    Returns:
        Whether a daemon ran.

    Raises:
        UnavailableError: the daemon did not end in time, or another process keeps the start lock.
    """
    if not (is_running(home) or home.guard_mark.exists() or is_locked(home.start_lock)):
        return False
    with _nobody_else_starts(home):  # a daemon that is just starting is stopped too
        mark_guarded(home, False)  # before anything ends, so that no worker starts another daemon
        if not is_running(home):
            return False
        pid = _find_daemon(home)
        with contextlib.suppress(ProcessLookupError):  # it may be ending on its own
            os.kill(pid, signal.SIGQUIT if now else signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)  # a stopped process would not receive the signal
    deadline = time.monotonic() + seconds
    # Only a child can be waited for; the lock of another process can.
    while is_running(home):
        if time.monotonic() > deadline:
            raise UnavailableError(f"the daemon (process {pid}) did not stop", "Try kbjobs daemon stop --now.")
        time.sleep(0.02)
    return True


def _find_daemon(home: Home) -> int:
    """Find the PID of the running daemon. Raises UnavailableError if it is not certain."""
    queue = open_to_read(home.state_file)
    described = queue.daemon() if queue is not None else None
    if queue is not None:
        queue.close()
    if described is None:
        raise UnavailableError("the daemon has not recorded its process", "Try again in a second.")
    if not is_held_by(described.pid, home.daemon_lock):
        raise UnavailableError(
            f"the lock of the daemon is held by another process than the one recorded ({described.pid})",
            "A restore may be running, or the daemon is just starting. Try again in a moment.",
        )
    return described.pid


def log_to_file(path: Path) -> None:
    """Send the daemon's messages to its log, which rotates."""
    import logging.handlers  # a client that asks whether a daemon runs has no use for it

    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def main() -> None:
    """Run the detached process. Arguments: HOME and the descriptor on which to report that it is ready, or why not.

    The descriptor is NOBODY if this process takes over from a daemon of an older program.
    """
    import logging

    from kbjobs.daemon.supervisor import Supervisor

    os.umask(0o077)
    home, descriptor = Home(Path(sys.argv[1])), int(sys.argv[2])
    if descriptor != NOBODY:
        os.set_inheritable(descriptor, False)

    def say(text: str) -> None:
        if descriptor == NOBODY:
            return
        with contextlib.suppress(BrokenPipeError):  # the client that started us may be gone; the jobs are not
            os.write(descriptor, text.encode())
        os.close(descriptor)

    try:
        home.prepare()
        log_to_file(home.daemon_log)
        supervisor = Supervisor(home, is_service())
    except (KbjobsError, OSError) as error:
        say(_explain(error))
        sys.exit(1)
    is_ready = False

    def on_ready() -> None:
        nonlocal is_ready
        is_ready = True
        say("ready")

    try:
        is_superseded = supervisor.run(on_ready)
    except Exception as error:
        logging.exception("the daemon failed")
        if not is_ready:
            say(_explain(error))
        sys.exit(1)
    if is_superseded:
        os.execv(sys.executable, _command(home, NOBODY))


def _command(home: Home, descriptor: int) -> list[str]:
    """The command that starts the detached process. -P: files in the working directory are data, never modules."""
    return [sys.executable, "-P", "-m", "kbjobs.daemon.launching", str(home.path), str(descriptor)]


def _explain(error: Exception) -> str:
    return f"{error.message}\n{error.hint}" if isinstance(error, KbjobsError) else str(error)


if __name__ == "__main__":
    main()
