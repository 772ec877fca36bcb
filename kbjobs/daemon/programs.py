"""Detect that the program on disk is no longer the one that this process runs, after an upgrade or a ``git pull``."""

from __future__ import annotations

import time

from kbjobs.version import VERSION, installed_program, installed_version

LOOK_SECONDS = 2.0  # between two looks at all files; the version is checked each time
SETTLE_SECONDS = 2.0  # without a change: a program that is still being written cannot run


class InstalledProgram:
    """The program that this process runs, as it was on disk when the process began."""

    def __init__(self) -> None:
        self._seen = installed_program()
        self._own = (VERSION, self._seen[1])
        self._looked = self._changed = time.monotonic()

    def is_replaced(self, at_once: bool = False) -> bool:
        """Whether another program is on disk now. ``at_once``: look even if the last look was a moment ago."""
        self._look(at_once or installed_version() != VERSION)
        return self._seen != self._own

    def is_being_replaced(self) -> bool:
        """Whether files have changed within the last seconds."""
        self._look()
        return self._seen != self._own and time.monotonic() - self._changed < SETTLE_SECONDS

    def is_to_blame(self, error: BaseException) -> bool:
        """Whether an error comes from mixing modules of two programs, as when a module is gone or a name has moved."""
        seen: BaseException | None = error
        while seen is not None:
            if _is_about_ourselves(seen):
                return self.is_replaced(at_once=True)
            seen = seen.__cause__ or seen.__context__
        return False

    def _look(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        found = installed_program()
        if found != self._seen:
            self._seen, self._changed = found, now


def _is_about_ourselves(error: BaseException) -> bool:
    if isinstance(error, ImportError):
        return _is_ours(error.name)
    if isinstance(error, AttributeError):
        owner = error.obj
        return any(_is_ours(getattr(one, "__module__", None)) for one in (owner, type(owner))) or _is_ours(
            getattr(owner, "__name__", None)
        )
    return False


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] == "kbjobs"
