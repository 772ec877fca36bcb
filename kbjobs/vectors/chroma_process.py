"""Chroma in a process of its own.

Chroma keeps Python's global lock for as long as it writes: 250 records stopped every other thread for 0.15 to 0.2 s
(chromadb 1.5), in which no engine was given its next texts. Beside it, it also neither takes the memory of a worker
nor ends it by a crash.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from kbjobs.vectors import chroma_child
from kbjobs.vectors.collection import ApartError, Collection, asking, check_directory


class _GoneError(ApartError):
    """The process that had a collection open is no more."""


class ChromaProcess:
    """Opens collections of directories in another process, which is started at once and anew when it is gone.

    To be made and closed in a thread that outlives its use: the process is killed when that thread ends.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        with contextlib.suppress(OSError):  # told when it is used
            self._process = _start()

    def open(self, path: Path, create: bool = False) -> Collection:
        """As :func:`kbjobs.vectors.collection.open_directory`."""
        check_directory(path, create)
        ask = asking(path)
        process, (number, batch) = ask(partial(self._open, path, create))
        opened = _Opened(self, process, number)
        return Collection(str(path), opened, batch, ask, opened.close)

    def close(self) -> None:
        """End the process. What was written and closed is on the disk."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def _open(self, path: Path, create: bool) -> tuple[subprocess.Popen[bytes], tuple[int, int]]:
        with self._turn:
            if self._process is None:
                self._process = _start()
            process = self._process
        return process, self.ask(process, "open", path, create)

    def ask(self, process: subprocess.Popen[bytes], operation: str, *given: object) -> Any:
        """What the process answers, if it still is the one that is asked. Raises ApartError."""
        with self._turn:
            if process is not self._process or process.stdin is None or process.stdout is None:
                raise _GoneError("the Chroma process that had it open has ended")
            try:
                pickle.dump((operation, given), process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()
                is_done, answer = pickle.load(process.stdout)  # noqa: S301 — from our own process
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                self._process = None
                raise _GoneError(f"the Chroma process that had it open has ended ({_end(process)})") from error
        if not is_done:
            raise ApartError(answer)
        return answer


class _Opened:
    """Stands for Chroma's own collection in the other process: has those of its methods that are used."""

    def __init__(self, owner: ChromaProcess, process: subprocess.Popen[bytes], number: int) -> None:
        self._ask = partial(owner.ask, process)
        self._number = number

    def __getattr__(self, method: str) -> Any:
        def ask(**named: object) -> Any:
            return self._ask("ask", self._number, method, named)

        return ask

    def close(self) -> None:
        """Let go of it; where the process is gone, so is its hold. Raises ApartError where Chroma fails at it."""
        with contextlib.suppress(_GoneError):
            self._ask("close", self._number)


def _start() -> subprocess.Popen[bytes]:
    # With -P: the code of this version, and no module from the folder the caller is in.
    program = f"import sys; sys.path[:] = sys.argv[1:]; from {chroma_child.__name__} import main; main()"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", program, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )


def _end(process: subprocess.Popen[bytes]) -> str:
    """End a process, if it has not ended; say how it did."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0)
    process.kill()
    code = process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    return f"signal {-code}" if code < 0 else f"exit code {code}"
