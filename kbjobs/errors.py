"""The exceptions a person may see, each with its exit code.

Every message says what happened and to what; ``hint`` says what to do next. The exit codes are part of
the command line's contract (docs/reference/exit-codes.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every ``kbjobs`` command; ``run``, ``watch`` and ``wait`` return the job's own."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    NOT_FOUND = 4
    CONFLICT = 5
    MISSING_REQUIREMENT = 6
    UNAVAILABLE = 7
    TIME_LIMIT = 8
    CANCELLED = 9
    INTERRUPTED = 10
    CTRL_C = 130


MEANINGS = {
    ExitCode.DONE: "Done.",
    ExitCode.FAILED: "The job failed, or an unexpected error occurred.",
    ExitCode.USAGE: "Usage: an unknown option, a bad parameter or an invalid chain file. Nothing was queued.",
    ExitCode.PARTIAL: "Done, but some documents could not be processed, a phase with on_error = 'continue' failed, or a"
    " source was left out. The summary counts them, the log lists them.",
    ExitCode.NOT_FOUND: "Not found: a job, a source, a chain, a file, or an unknown model name.",
    ExitCode.CONFLICT: "Conflict: the same job is already pending or running, or the source is in use.",
    ExitCode.MISSING_REQUIREMENT: "A credential, a setting or a known model is missing, a credential was refused, or"
    " its account has no money left.",
    ExitCode.UNAVAILABLE: "The daemon or the state is unavailable: it cannot start, is locked or damaged, or comes from"
    " a newer version.",
    ExitCode.TIME_LIMIT: "The time limit or a limit on spending was reached. What was done is kept, and the job can be"
    " resumed.",
    ExitCode.CANCELLED: "Cancelled.",
    ExitCode.INTERRUPTED: "Interrupted: the worker died too often without progress, or a Ray cluster went away. The job"
    " can be resumed.",
    ExitCode.CTRL_C: "Ctrl-C. The job keeps running.",
}
MILD_ENDS = (
    ExitCode.DONE,
    ExitCode.PARTIAL,
    ExitCode.CANCELLED,
    ExitCode.TIME_LIMIT,
    ExitCode.INTERRUPTED,
)  # from the best to the worst; a failure is worse than all of them


def worst(codes: Iterable[int]) -> int:
    """The worst of several exit codes, of equally bad ones the first; DONE if there are none."""

    def badness(code: int) -> int:
        return MILD_ENDS.index(ExitCode(code)) if code in MILD_ENDS else len(MILD_ENDS)

    return max(codes, key=badness, default=ExitCode.DONE)


class KbjobsError(Exception):
    """Base of all expected errors: a message for people, a hint, an exit code."""

    exit_code: ExitCode = ExitCode.FAILED
    says_error = False
    """Whether the message itself says that it is an error, like a compiler's message."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(KbjobsError):
    """A parameter, id or file cannot be used as given; nothing was queued."""

    exit_code = ExitCode.USAGE


class NotFoundError(KbjobsError):
    """A job, source, file or model of that name does not exist."""

    exit_code = ExitCode.NOT_FOUND


class ConflictError(KbjobsError):
    """The same job is already pending or running, or a source is in use."""

    exit_code = ExitCode.CONFLICT


class MissingRequirementError(KbjobsError):
    """A credential, a setting, an extra or a known model is missing."""

    exit_code = ExitCode.MISSING_REQUIREMENT


class UnavailableError(KbjobsError):
    """The daemon or the state is unusable: it cannot start, is locked or damaged, or is newer than the program."""

    exit_code = ExitCode.UNAVAILABLE


class TimeLimitError(KbjobsError):
    """The time for waiting is over; the jobs that were waited for keep running."""

    exit_code = ExitCode.TIME_LIMIT


class TransientError(KbjobsError):
    """A transient error, such as a busy server: with ``--retries`` the job is tried again later."""


class JobInterrupted(TransientError):
    """Raised by a phase that cannot continue now but may later: its job ends as interrupted, and can be resumed.

    With ``--retries`` it resumes by itself.
    """

    exit_code = ExitCode.INTERRUPTED


class DownloadError(KbjobsError):
    """A server's data is unusable: its size or hash is not as announced, or it comes from a forbidden place."""


class JobWaits(KbjobsError):
    """Raised by a phase that can do nothing for a while: its job goes back to the queue for ``seconds``.

    The job has neither ended nor failed: another worker continues the attempt afterwards. Until then, other jobs may
    run in its place. The message says what it waits for, and begins like "waiting for 2 batches".
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class JobCancelled(KbjobsError):
    """Raised inside a phase when its job must stop; the ledger keeps the work done."""

    exit_code = ExitCode.CANCELLED
