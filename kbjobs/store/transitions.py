"""The life of a job as pure data: every write to a job's status goes through :func:`after`."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The status of a job."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Event(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"  # a pending job at once, a running one when its worker has stopped
    REQUEUE = "requeue"  # after a crash, or when the daemon stops
    INTERRUPT = "interrupt"  # its worker died too often without progress
    EXPIRE = "expire"  # a time limit was reached
    POSTPONE = "postpone"  # after a transient error; it is tried again by itself later
    WAIT = "wait"  # it can do nothing but wait, and continues by itself later
    RESUME = "resume"  # the user's request to continue from the checkpoint
    RETRY = "retry"  # the user's request to run it again from the start
    DISCARD = "discard"  # the user's request not to resume it


LIVE = frozenset({Status.PENDING, Status.RUNNING})
ENDED = frozenset(Status) - LIVE

_S, _E = Status, Event
TRANSITIONS: dict[tuple[Status, Event], Status] = {
    (_S.PENDING, _E.CLAIM): _S.RUNNING,
    (_S.PENDING, _E.CANCEL): _S.CANCELLED,
    (_S.RUNNING, _E.COMPLETE): _S.COMPLETED,
    (_S.RUNNING, _E.FAIL): _S.FAILED,
    (_S.RUNNING, _E.CANCEL): _S.CANCELLED,
    (_S.RUNNING, _E.REQUEUE): _S.PENDING,
    (_S.RUNNING, _E.INTERRUPT): _S.INTERRUPTED,
    (_S.PENDING, _E.EXPIRE): _S.INTERRUPTED,
    (_S.RUNNING, _E.EXPIRE): _S.INTERRUPTED,
    (_S.RUNNING, _E.POSTPONE): _S.PENDING,
    (_S.RUNNING, _E.WAIT): _S.PENDING,
    (_S.FAILED, _E.RESUME): _S.PENDING,
    (_S.CANCELLED, _E.RESUME): _S.PENDING,
    (_S.INTERRUPTED, _E.RESUME): _S.PENDING,
    (_S.FAILED, _E.DISCARD): _S.CANCELLED,
    (_S.INTERRUPTED, _E.DISCARD): _S.CANCELLED,
    (_S.COMPLETED, _E.RETRY): _S.PENDING,
    (_S.FAILED, _E.RETRY): _S.PENDING,
    (_S.CANCELLED, _E.RETRY): _S.PENDING,
    (_S.INTERRUPTED, _E.RETRY): _S.PENDING,
}


def before(event: Event) -> tuple[Status, ...]:
    """The statuses in which the event can happen."""
    return tuple(status for status, possible in TRANSITIONS if possible is event)


class InvalidTransition(Exception):
    """The event cannot happen to a job with that status."""


def after(status: Status, event: Event) -> Status:
    """The status after an event; raises InvalidTransition if the event cannot happen."""
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise InvalidTransition(f"a {status} job cannot {event}") from None
