"""The process in which Chroma works on directories, for a process that has other things to compute meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Do what comes by stdin, until nothing comes: pairs of an operation and what it is given; each has an answer."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are the caller's to answer; its end is seen at the pipes
    _die_with_caller()
    import chromadb  # noqa: F401 — half a second, while the caller has nothing to write yet

    service = _Service()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            operation, given = pickle.load(sys.stdin.buffer)  # noqa: S301 — from the process that has started this one
            try:
                answer = (True, getattr(service, operation)(*given))
            except Exception as error:  # noqa: BLE001 — whatever Chroma raises is told to the caller
                answer = (False, f"{type(error).__name__}: {error}")
            pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()


def _die_with_caller() -> None:
    """Be killed when the caller is: a directory that nobody asks for any more is another process's to write to."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class _Service:
    """The operations: collections are opened, asked and closed, by number."""

    def __init__(self) -> None:
        self._opened: dict[int, tuple[Any, Callable[[], None], int]] = {}
        self._newest = 0

    def open(self, path: Path, create: bool) -> tuple[int, int]:
        """Open a directory's collection: its number, and how many records it takes at once."""
        from kbjobs.vectors.collection import open_chroma

        # Held until this process ends, however it ends: who comes after it waits for its last write.
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found, batch, close = open_chroma(path, create)
        except BaseException:
            os.close(lock)
            raise
        self._newest += 1
        self._opened[self._newest] = (found, close, lock)
        return self._newest, batch

    def ask(self, number: int, method: str, named: dict[str, Any]) -> Any:
        """What a method of Chroma's collection gives."""
        return getattr(self._opened[number][0], method)(**named)

    def close(self, number: int) -> None:
        """Let go of a collection and of its directory."""
        _, close, lock = self._opened.pop(number)
        try:
            close()
        finally:
            os.close(lock)
