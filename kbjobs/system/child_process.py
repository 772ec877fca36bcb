"""Child processes that parse foreign bytes and run native libraries, so that the parent survives their crashes.

All child processes are started, called and ended here. A child is a separate Python:

- started with ``-P`` and the search path of its parent: the code of this version, and nothing from the current folder;
- with few environment variables, so that a process that reads strangers' texts has no secrets;
- with a limit of memory, and of processor time for each answer, which holds even if nobody waits for it;
- killed by the kernel when its parent ends in any way.

Requests and answers are frames: eight bytes with the length, then a pickle.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from kbjobs.system import child_service
from kbjobs.system.child_service import ANSWER, BEAT, END, FAILURE, HEAD

MEMORY_LIMIT = 3 * 2**30
"""Most memory of a child that reads documents, in bytes."""

WAITING = 4
"""The parent waits this many times the processor time of an answer, because the machine may be busy."""

WALL_MARGIN = 30.0
"""Additional seconds that the parent waits, for a disk or for the start of a child."""

LOOK = 0.1
"""Seconds between two checks whether the answer is still wanted."""

_PIPE_SIZE = 2**20
_VARIABLES = (
    "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "USER",
    "XDG_CACHE_HOME", "MALLOC_ARENA_MAX", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX",
    "KBJOBS_CRASH_AT", "KBJOBS_HOME", "KBJOBS_RUN_ID",
)  # fmt: skip
"""The environment variables that a child gets from its parent."""


class ChildLost(Exception):
    """The child ended, or was ended, before it gave its answer. ``is_late``: it exceeded its time limit."""

    def __init__(self, reason: str, *, is_late: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_late = is_late


class ChildError(Exception):
    """A call failed in the child, which is still alive. ``kind`` is the name of the exception there."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind, self.message = kind, message


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """The limits of an answer.

    ``seconds``: processor time, None for no limit; ``wait``: the seconds that the parent waits, by default derived from
    ``seconds``. ``check`` is called from time to time meanwhile; if it raises, the child is ended.
    """

    seconds: float | None = None
    wait: float | None = None
    check: Callable[[], None] | None = None

    @property
    def wall_seconds(self) -> float:
        """The seconds that the parent waits for each answer."""
        if self.wait is not None:
            return self.wait
        return float("inf") if self.seconds is None else WAITING * self.seconds + WALL_MARGIN


UNLIMITED = ChildLimits()


@dataclass(frozen=True, slots=True)
class ChildProgram:
    """What a child runs: a class that is instantiated there, and whose methods are then called.

    ``service`` is the class as ``package.module:Class``, ``given`` its arguments; ``memory`` is the most memory in
    bytes, None for no limit; ``variables`` are added to the environment; ``is_heard``: the child shares the parent's
    standard error.
    """

    service: str
    given: tuple[object, ...] = ()
    memory: int | None = MEMORY_LIMIT
    variables: tuple[tuple[str, str], ...] = (("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1"))
    is_heard: bool = False


class ChildProcess:
    """A child that is started at the first request, and restarted if it has ended. It handles one request at a time.

    Args:
        program: the program of the child.
        name: its name in messages, such as "its reader".
    """

    def __init__(self, program: ChildProgram, name: str) -> None:
        self._program, self._name = program, name
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.RLock()
        self._buffer = bytearray()
        self._is_stopped = False
        self._streaming: object | None = None  # identifies the stream that has not ended yet, if any

    @property
    def pid(self) -> int | None:
        """The id of the process, None if there is none now."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it before the first request. Raises OSError."""
        with self._turn:
            if self._process is None and not self._is_stopped:
                self._process = _start(self._program)
                self._buffer = bytearray()

    def ask(self, method: str, *given: object, limits: ChildLimits = UNLIMITED) -> Any:
        """Call a method of the service and return its result.

        Raises ChildLost if the child ended or took too long, ChildError if the method failed.
        """
        with self._turn:
            try:
                self._request(method, given, limits, is_stream=False)
                state, answer = self._receive(limits)
            except BaseException:
                self._reap()  # it may still be working on a request that nobody waits for
                raise
        if state == FAILURE:
            raise ChildError(*answer)
        return answer

    def stream(self, method: str, *given: object, limits: ChildLimits = UNLIMITED) -> Iterator[Any]:
        """Call a generator method of the service and yield its results; the limits apply to each. See :meth:`ask`.

        Another request before the stream's end makes the stream raise ChildLost.
        """
        with self._turn:
            try:
                self._request(method, given, limits, is_stream=True)
            except BaseException:
                self._reap()
                raise
            mine = self._streaming = object()
        while True:
            with self._turn:
                if self._streaming is not mine:
                    raise ChildLost(f"{self._name} was asked for something else")
                try:
                    state, answer = self._receive(limits)
                except BaseException:
                    self._reap()
                    raise
                if state != ANSWER:
                    self._streaming = None
            if state == FAILURE:
                raise ChildError(*answer)
            if state == END:
                return
            yield answer

    def stop(self) -> None:
        """End it for good, even in the middle of a request."""
        self._is_stopped = True
        self.end()

    def end(self) -> None:
        """End it; the next request starts another."""
        process = self._process
        if process is not None:
            process.kill()  # a thread that waits for an answer then releases it
            with self._turn:
                if process is self._process:
                    self._reap()

    def _request(self, method: str, given: tuple[object, ...], limits: ChildLimits, *, is_stream: bool) -> None:
        if self._streaming is not None:
            self._reap()
        try:
            self.start()
        except OSError as error:
            raise ChildLost(f"{self._name} could not be started: {error.strerror or error}") from error
        request = pickle.dumps((method, given, limits.seconds, is_stream), pickle.HIGHEST_PROTOCOL)
        self._exchange(HEAD.pack(len(request)) + request, 0, limits)

    def _receive(self, limits: ChildLimits) -> tuple[int, Any]:
        self._exchange(b"", HEAD.size, limits)
        end = HEAD.size + HEAD.unpack_from(self._buffer)[0]
        self._exchange(b"", end, limits)
        with memoryview(self._buffer) as view, view[HEAD.size : end] as frame:
            try:
                state, answer = pickle.loads(frame)  # noqa: S301 — from our own process
            except (pickle.UnpicklingError, EOFError, ValueError, LookupError) as error:
                raise ChildLost(f"{self._name} answered nonsense") from error
        del self._buffer[:end]  # moves no bytes: a bytearray drops its start by moving a pointer
        return self._receive(limits) if state == BEAT else (state, answer)

    def _exchange(self, request: bytes, wanted: int, limits: ChildLimits) -> None:
        """Send the request, then wait until ``wanted`` bytes of the answer have arrived."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise ChildLost(f"{self._name} was stopped")
        left, reader, writer = memoryview(request), process.stdout.fileno(), process.stdin.fileno()
        poll = select.poll()
        poll.register(*((writer, select.POLLOUT) if left else (reader, select.POLLIN)))
        deadline = time.monotonic() + limits.wall_seconds
        while left or len(self._buffer) < wanted:
            if not self._is_ready(poll, deadline, limits):
                if time.monotonic() >= deadline:
                    process.kill()
                    raise ChildLost(f"{self._name} gave no answer in time", is_late=True)
            elif left:
                try:
                    left = left[os.write(writer, left[:_PIPE_SIZE]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    raise self._explain_end() from None
            else:
                piece = os.read(reader, max(_PIPE_SIZE, wanted - len(self._buffer)))
                if not piece:
                    raise self._explain_end()
                self._buffer += piece

    def _is_ready(self, poll: select.poll, deadline: float, limits: ChildLimits) -> bool:
        """Wait a moment for the pipe. Raises ChildLost if the child was stopped, and errors of the caller's check."""
        if self._is_stopped:
            raise ChildLost(f"{self._name} was stopped")
        if limits.check is not None:
            limits.check()
        wait = min(deadline - time.monotonic(), 60.0 if limits.check is None else LOOK)
        return bool(poll.poll(max(0.0, wait) * 1000))

    def _explain_end(self) -> ChildLost:
        process = self._process
        if process is None or self._is_stopped:
            return ChildLost(f"{self._name} was stopped")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)  # its pipes close a moment before it can be reaped
        process.kill()
        code = process.wait()
        if -code == signal.SIGPROF:
            return ChildLost("it takes too much time to read", is_late=True)
        if code < 0:
            return ChildLost(f"{self._name} crashed ({signal.strsignal(-code)})")
        return ChildLost(f"{self._name} ended (exit code {code})")

    def _reap(self) -> None:
        process, self._process, self._streaming = self._process, None, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


# -- starting --------------------------------------------------------------------------------------


class _Starter:
    """Starts all children of this process in a thread that lives as long as the process.

    The kernel sends the parent-death signal when the thread that created the child ends.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._wanted: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="children", daemon=True).start()

    def run(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Call ``start`` in the thread; returns its result or raises its error."""
        started: Future[subprocess.Popen[bytes]] = Future()
        self._wanted.put((start, started))
        return started.result()

    def _work(self) -> None:
        while True:
            start, started = self._wanted.get()
            try:
                started.set_result(start())
            except BaseException as error:  # noqa: BLE001 — raised in the calling thread
                started.set_exception(error)
            del start, started


_starter: _Starter | None = None
_starter_lock = threading.Lock()


def start_lasting(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that may ask the kernel to kill it when this one ends; takes the arguments of Popen."""
    global _starter
    with _starter_lock:
        if _starter is None or _starter.owner != os.getpid():
            _starter = _Starter()
        starter = _starter
    return starter.run(lambda: subprocess.Popen(command, **options))


def _start(program: ChildProgram) -> subprocess.Popen[bytes]:
    bootstrap = (
        f"import sys; sys.path[:] = sys.argv[2:]; from {child_service.__name__} import serve; serve(int(sys.argv[1]))"
    )
    process = start_lasting(
        [sys.executable, "-P", "-c", bootstrap, str(os.getpid()), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if program.is_heard else subprocess.DEVNULL,
        env=make_environment() | dict(program.variables),
    )
    assert process.stdin is not None  # noqa: S101 — it is a pipe
    first = pickle.dumps((program.service, program.given, program.memory), pickle.HIGHEST_PROTOCOL)
    with contextlib.suppress(BrokenPipeError):  # the first request reports the error
        os.write(process.stdin.fileno(), HEAD.pack(len(first)) + first)
    os.set_blocking(process.stdin.fileno(), False)
    return process


def make_environment() -> dict[str, str]:
    """The part of this process's environment that a child gets."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}
