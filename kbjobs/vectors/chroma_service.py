"""The service that runs Chroma on directories in a separate process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class ChromaService:
    """Opens, calls and closes collections, which it identifies by number."""

    def __init__(self) -> None:
        import chromadb  # noqa: F401 — takes half a second, while the caller has nothing to write yet

        self._opened: dict[int, tuple[Any, Callable[[], None], int]] = {}
        self._newest = 0

    def open(self, path: Path, create: bool) -> tuple[int, int]:
        """Open a directory's collection; returns its number, and the largest number of records of a write."""
        from kbjobs.vectors.collection import open_chroma

        # Held until this process ends in any way, so that a successor waits for its last write.
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
        """Call a method of an open collection.

        Args:
            number: the collection's, from :meth:`open`.
            method: a method of Chroma's collection.
            named: its keyword arguments.
        """
        return getattr(self._opened[number][0], method)(**named)

    def close(self, number: int) -> None:
        """Release a collection and its directory."""
        _, close, lock = self._opened.pop(number)
        try:
            close()
        finally:
            os.close(lock)
