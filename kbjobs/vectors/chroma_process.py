"""Chroma in a separate process.

Chroma holds Python's global lock while it writes: 250 records stopped every other thread for 0.15 to 0.2 s
(chromadb 1.5), in which no engine was given its next texts. In its own process, it also neither uses the worker's
memory nor takes the worker down by a crash.
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from kbjobs.system.child_process import ChildError, ChildLimits, ChildLost, ChildProcess, ChildProgram
from kbjobs.vectors.chroma_service import ChromaService
from kbjobs.vectors.collection import ApartError, Collection, asking, check_directory

LIMITS = ChildLimits(3600.0)
"""Limits of one call to Chroma; opening and searching a large collection for the first time reads all of it."""

_PROGRAM = ChildProgram(f"{ChromaService.__module__}:{ChromaService.__name__}", memory=None, is_heard=True)


class _GoneError(ApartError):
    """The process that had a collection open has ended."""


class ChromaProcess:
    """Opens directories' collections in another process, which is started at once, and restarted if it has ended."""

    def __init__(self) -> None:
        self._child = ChildProcess(_PROGRAM, "the Chroma process")
        with contextlib.suppress(OSError):  # the first use reports the error
            self._child.start()

    @property
    def pid(self) -> int | None:
        """The id of the process, None if there is none now."""
        return self._child.pid

    def open(self, path: Path, create: bool = False) -> Collection:
        """As :func:`kbjobs.vectors.collection.open_directory`."""
        check_directory(path, create)
        ask = asking(path)
        number, batch, pid = ask(partial(self._open, path, create))
        opened = _Opened(self, pid, number)
        return Collection(str(path), opened, batch, ask, opened.close)

    def close(self) -> None:
        """Stop the process. Closed collections are on disk."""
        self._child.stop()

    def _open(self, path: Path, create: bool) -> tuple[int, int, int | None]:
        return *self._ask("open", path, create), self.pid

    def ask(self, pid: int | None, operation: str, *given: object) -> Any:
        """Call the Chroma process, if it is still the one that opened a collection.

        Args:
            pid: the process that opened it.
            operation: a method of :class:`kbjobs.vectors.chroma_service.ChromaService`.
            given: its arguments.

        Raises:
            ApartError: that process has ended, or Chroma fails.
        """
        if pid != self.pid:
            raise _GoneError("the Chroma process that had it open has ended")
        return self._ask(operation, *given)

    def _ask(self, operation: str, *given: object) -> Any:
        try:
            return self._child.ask(operation, *given, limits=LIMITS)
        except ChildLost as loss:
            raise _GoneError(f"the Chroma process that had it open has ended ({loss.reason})") from loss
        except ChildError as error:
            raise ApartError(f"{error.kind}: {error.message}") from error


class _Opened:
    """A proxy of Chroma's own collection in the other process; forwards method calls."""

    def __init__(self, owner: ChromaProcess, pid: int | None, number: int) -> None:
        self._ask = partial(owner.ask, pid)
        self._number = number

    def __getattr__(self, method: str) -> Any:
        def ask(**named: object) -> Any:
            return self._ask("ask", self._number, method, named)

        return ask

    def close(self) -> None:
        """Release the collection; does nothing if the process has ended. Raises ApartError if Chroma fails."""
        with contextlib.suppress(_GoneError):
            self._ask("close", self._number)
