"""What a phase's run is given, and what it gives back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from kbjobs.config.home import Home
from kbjobs.config.secrets import find_secret
from kbjobs.config.settings import Settings
from kbjobs.errors import JobCancelled, UsageError
from kbjobs.store.sources import SourceFolder


class Reporter(Protocol):
    """Where a phase's progress goes."""

    def report(
        self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta_matters: bool
    ) -> None:
        """Take a report of progress."""

    def saved(self, steps: int) -> None:
        """Take a note that more steps are safe on disk."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a phase sees of the world: its source, its settings, progress, cancellation, a checkpoint and a log.

    ``checkpoint`` is the JSON value that an earlier attempt of this phase has saved last, None at a new start.
    """

    home: Home
    settings: Settings
    folder: SourceFolder | None
    job_id: int
    reporter: Reporter
    is_stopping: Callable[[], bool]
    log: logging.Logger
    checkpoint: Any = None
    keep: Callable[[Any], None] = field(default=lambda value: None)
    end: Callable[[Any], None] = field(default=lambda value: None)

    @property
    def source(self) -> SourceFolder:
        """The source of the job; of a type that ``needs_source`` there always is one."""
        if self.folder is None:
            raise UsageError("the job has no source", "Submit it again with the id of a source.")
        return self.folder

    def progress(
        self,
        current: int,
        total: int,
        unit: str,
        message: str = "",
        span: tuple[float, float] = (0.0, 1.0),
        eta_matters: bool = True,
    ) -> None:
        """Report ``current`` of ``total`` units, and raise JobCancelled where the job is to stop.

        ``span`` is the part of the phase, as fractions, that these units make up.
        """
        self.reporter.report(current, total, unit, message, span, eta_matters)
        self.check()

    def saved(self, steps: int) -> None:
        """Say that ``steps`` more steps are in the ledger: a death after it is not one without progress."""
        self.reporter.saved(steps)

    def save_checkpoint(self, value: Any) -> None:
        """Put on disk how far the phase has come: a small JSON value, given back as ``checkpoint`` after a stop.

        Work itself belongs into the ledger; this only saves looking for the place to go on.
        """
        self.keep(value)

    def end_source(self, value: Any) -> None:
        """Put on record that the source is no more; ``value`` is given back as ``checkpoint`` after a stop."""
        self.end(value)

    def secret(self, name: str) -> str | None:
        """A credential the job type declared in ``secrets``; to be used, never logged or reported."""
        return find_secret(self.home, name)

    def check(self) -> None:
        """Raise JobCancelled where the job is to stop."""
        if self.is_stopping():
            raise JobCancelled("stopped at a checkpoint")


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """How a phase ended: what its summary says, the failed documents counted, and a line for a person."""

    counts: dict[str, Any]
    summary: str
    failed: int = 0
