"""The context that a phase runs in, and its result."""

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
    """Takes a phase's progress."""

    def report(
        self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta_matters: bool
    ) -> None:
        """Take a report of progress; see :meth:`Context.progress` for the arguments."""

    def saved(self, steps: int) -> None:
        """Take the number of further steps that are safe on disk."""


@dataclass(frozen=True, slots=True)
class Context:
    """The environment of a phase: its source, its settings, progress, cancellation, a checkpoint and a log.

    ``checkpoint`` is the last JSON value that an earlier attempt of this phase saved, None at a fresh start.
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
        """The job's source; a type that ``needs_source`` always has one. Raises UsageError if there is none."""
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
        """Report progress, and raise JobCancelled if the job must stop.

        Args:
            current: the number of units done.
            total: the number of all units; 0 if unknown.
            unit: the name of the units, such as ``documents``.
            message: what the phase is doing, for people.
            span: the part of the phase that these units make up, as two fractions.
            eta_matters: whether the time left may be derived from these units.
        """
        self.reporter.report(current, total, unit, message, span, eta_matters)
        self.check()

    def saved(self, steps: int) -> None:
        """Report that ``steps`` more steps are in the ledger, so that a later death is not one without progress."""
        self.reporter.saved(steps)

    def save_checkpoint(self, value: Any) -> None:
        """Save how far the phase has come, as a small JSON value that is returned as ``checkpoint`` after a stop.

        The work itself belongs in the ledger; a checkpoint only saves searching for the place to resume.
        """
        self.keep(value)

    def end_source(self, value: Any) -> None:
        """Record that the source is deleted; ``value`` is returned as ``checkpoint`` after a stop."""
        self.end(value)

    def secret(self, name: str) -> str | None:
        """A credential that the job type declares in ``secrets``. Never log or report it."""
        return find_secret(self.home, name)

    def check(self) -> None:
        """Raise JobCancelled if the job must stop."""
        if self.is_stopping():
            raise JobCancelled("stopped at a checkpoint")


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """The result of a phase: its counts, a summary for people, and the number of failed documents."""

    counts: dict[str, Any]
    summary: str
    failed: int = 0
