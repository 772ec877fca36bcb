"""How a run ends, as it is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from kbjobs.errors import ExitCode
from kbjobs.store.transitions import Event

PAUSED = "paused; what was done is kept"  # the message of a job that stopped for a pause

# Why a job goes back to the queue although its worker did not crash: the text for its attempt, and its message.
STOPPED = ("daemon stopped", "waits for the daemon")
REPLACED = ("kbjobs was replaced under it", "waits for the newer kbjobs")


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ends: the event for its job, and the text that is shown.

    ``exit_code`` is None if the job goes back to the queue; ``error`` is the error with its remedy;
    ``reason`` is the stored word for an end such as "time_limit".
    """

    event: Event
    exit_code: ExitCode | None
    message: str
    error: str | None = None
    reason: str | None = None


OUT_OF_TIME = RunOutcome(
    Event.EXPIRE, ExitCode.TIME_LIMIT, "time limit reached; what was done is kept", reason="time_limit"
)
CANCELLED = RunOutcome(Event.CANCEL, ExitCode.CANCELLED, "cancelled")
