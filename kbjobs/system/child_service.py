"""What runs in a child process: a service whose methods are asked for by the parent, one after the other.

The parent's side is :mod:`kbjobs.system.child_process`. Little is imported here: a child starts often.
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
"""Comes before each frame: how many bytes it has."""

ANSWER, FAILURE, END, BEAT = range(4)
"""What a frame of the child is: an answer, the kind and message of an exception, the end of a stream, a heartbeat."""

_PR_SET_PDEATHSIG = 1  # prctl(2)

_answers: int | None = None  # where answers go; None where a service is used without a process
_limit: float | None = None


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end it at once where that has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def serve(parent: int) -> None:
    """Answer what comes by stdin, until nothing comes."""
    global _answers
    die_with(parent)
    _answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are the parent's to answer
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
        except Exception as error:  # noqa: BLE001 — whatever it is, the parent is told
            limit_time(None)
            _send(FAILURE, (type(error).__name__, str(error)))


def limit_time(seconds: float | None) -> None:
    """Let this process be killed after so many seconds of processor time from now on: waiting costs none."""
    global _limit
    _limit = seconds
    if _answers is not None:
        signal.setitimer(signal.ITIMER_PROF, 0 if seconds is None else seconds)


def beat() -> None:
    """Say that this is no hang: what is at work now may take its time anew."""
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
