"""The code that runs in a child process: a service whose methods the parent calls, one after another.

The parent's side is :mod:`kbjobs.system.child_process`. Little is imported here, because children start often.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import resource
import signal
import struct
import sys
from importlib import import_module
from typing import Any

HEAD = struct.Struct("<Q")
"""The head of each frame: its number of bytes."""

ANSWER, FAILURE, END, BEAT = range(4)
"""The kinds of a child's frames: an answer, the kind and message of an exception, the end of a stream, a heartbeat."""

_PR_SET_PDEATHSIG = 1  # prctl(2)

_answers: int | None = None  # the descriptor for answers; None if a service is used without a process
_limit: float | None = None


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit at once if the parent has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def serve(parent: int) -> None:
    """Answer requests from stdin until it is closed."""
    global _answers
    die_with(parent)
    _answers = os.dup(1)
    os.dup2(2, 1)  # output that a library prints must not mix with answers
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent handles these signals
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    service, given, memory = _read_frame()
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    made: Any = None
    while True:
        method, arguments, seconds, is_stream = _read_frame()
        try:
            limit_time(seconds)
            if made is None:
                module, _, name = service.partition(":")
                made = getattr(import_module(module), name)(*given)
            answer = getattr(made, method)(*arguments)
            if not is_stream:
                limit_time(None)
                _send(ANSWER, answer)
                continue
            for one in answer:
                limit_time(None)
                _send(ANSWER, one)
                limit_time(seconds)
            limit_time(None)
            _send(END, None)
        except Exception as error:  # noqa: BLE001 — any error is sent to the parent
            limit_time(None)
            _send(FAILURE, (type(error).__name__, str(error)))


def limit_time(seconds: float | None) -> None:
    """Let this process be killed after ``seconds`` of processor time from now on; waiting does not count."""
    global _limit
    _limit = seconds
    if _answers is not None:
        signal.setitimer(signal.ITIMER_PROF, 0 if seconds is None else seconds)


def beat() -> None:
    """Send a heartbeat, and restart the time limit of the current work."""
    if _answers is not None:
        limit_time(_limit)
        _send(BEAT, None)


def _read_frame() -> Any:
    head = sys.stdin.buffer.read(HEAD.size)
    if len(head) < HEAD.size:
        sys.exit(0)
    return pickle.loads(sys.stdin.buffer.read(HEAD.unpack(head)[0]))  # noqa: S301 — from the parent


def _send(state: int, answer: object) -> None:
    assert _answers is not None  # noqa: S101 — a service is served
    body = pickle.dumps((state, answer), pickle.HIGHEST_PROTOCOL)
    left = memoryview(HEAD.pack(len(body)) + body)
    try:
        while left:
            left = left[os.write(_answers, left) :]
    except BrokenPipeError:
        os._exit(0)
