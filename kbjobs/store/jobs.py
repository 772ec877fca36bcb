"""A job as a value: what a row of ``jobs`` means."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from kbjobs.errors import UsageError
from kbjobs.store.phase_state import PhaseState, hash_json, load_phases
from kbjobs.store.transitions import Event, Status


@dataclass(frozen=True, slots=True)
class RunningPhase:
    """The running phase: its index in the chain, its name, and ``current`` of ``total`` units done.

    ``rate`` is in units per second, None until it is measured.
    """

    index: int
    name: str
    current: int
    total: int
    unit: str
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Progress of a whole job: percentage, the running phase, all phases, a message.

    ``eta`` is the seconds left for the whole job, None if unknown.
    """

    progress: float
    phase: RunningPhase | None
    phases: tuple[PhaseState, ...]
    message: str
    eta: float | None


@dataclass(frozen=True, slots=True)
class Work:
    """What the running phase does (``operation``), and the dimension of the vectors that it works on, if any."""

    dimension: int | None
    operation: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job at the time it was read. Times are UTC, ISO 8601; durations are seconds; progress is 0–100.

    ``beat_at`` is the time of its worker's last heartbeat; ``source_deleted_at`` is when its source, or a later source
    with that id, was deleted.
    """

    id: int
    type: str
    source: str | None
    params: dict[str, Any]
    phases: tuple[PhaseState, ...]
    status: Status
    priority: int
    cancel_requested: bool
    pause_requested: bool
    attempt: int
    run_id: str | None
    pid: int | None
    beat: int
    not_before: float | None
    until: float | None
    timeout: float | None
    timeout_from: float
    retries: int
    retried: int
    saved: int
    reason: str | None
    progress: float
    phase: RunningPhase | None
    message: str
    eta: float | None
    dimension: int | None
    operation: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    duration: float
    exit_code: int | None
    result: dict[str, Any] | None
    error: str | None
    attempt_started_at: str | None
    beat_at: str | None
    resumable: bool
    resumed: bool
    ends_source: bool
    source_deleted_at: str | None

    @property
    def has_ended(self) -> bool:
        """Whether it is neither pending nor running."""
        return self.status not in (Status.PENDING, Status.RUNNING)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits within an attempt, which continues by itself later."""
        return self.status is Status.PENDING and self.attempt_started_at is not None

    @property
    def shown_progress(self) -> float:
        """Percent with one decimal, rounded down, so that 100 is shown only at the end."""
        return math.floor(self.progress * 10) / 10

    def is_out_of_time(self) -> bool:
        """Whether it has reached its end time or its limit of working time."""
        if self.until is not None and time.time() >= self.until:
            return True
        return self.timeout is not None and self.duration - self.timeout_from >= self.timeout

    def as_dict(self) -> dict[str, Any]:
        """The job as the JSON that ``--json`` prints; fields are only ever added."""
        return {
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "status": str(self.status),
            "progress": self.shown_progress,
            "phase": None if self.phase is None else asdict(self.phase),
            "phases": [phase.as_dict() for phase in self.phases],
            "message": self.message,
            "eta_seconds": None if self.eta is None else round(self.eta),
            "attempt": self.attempt,
            "priority": self.priority,
            "params": self.params,
            "created_at": self.created_at,
            "started_at": self.started_at,
            "heartbeat_at": self.beat_at,
            "finished_at": self.finished_at,
            "duration_seconds": round(self.duration, 1),
            "dimension": self.dimension,
            "operation": self.operation,
            "exit_code": self.exit_code,
            "result": self.result,
            "error": self.error,
            "reason": self.reason,
            "not_before": _iso(self.not_before),
            "until": _iso(self.until),
            "timeout_seconds": self.timeout,
            "retries": self.retries,
            "resumable": self.resumable,
            "resumed": self.resumed,
            "source_deleted_at": self.source_deleted_at,
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """When a job may run. ``not_before`` and ``until``: seconds since 1970; ``timeout``: seconds of work.

    ``retries``: how often a transient error is tried again.
    """

    not_before: float | None = None
    until: float | None = None
    timeout: float | None = None
    retries: int = 0


@dataclass(frozen=True, slots=True)
class LimitChanges:
    """The changes that a resume makes to a job's limits; None leaves a limit unchanged."""

    not_before: float | None = None
    until: float | None = None
    timeout: float | None = None
    retries: int | None = None

    def applied(self, job: Job) -> Limits:
        """The limits that the job has from now on. Its own start and end times are dropped if they have passed.

        Raises UsageError if the job would have to stop before it may start.
        """
        start = self.not_before if self.not_before is not None else _to_come(job.not_before)
        end = self.until if self.until is not None else _to_come(job.until)
        check_moments(job.id, start, end)
        return Limits(
            start,
            end,
            job.timeout if self.timeout is None else self.timeout,
            job.retries if self.retries is None else self.retries,
        )


def check_moments(job_id: int, start: float | None, end: float | None) -> None:
    """Check that a job may start before it has to stop.

    Args:
        job_id: the job.
        start: the time before which it may not start, in seconds since 1970, if any.
        end: the time at which it must stop, in seconds since 1970, if any.

    Raises:
        UsageError: the end is not after the start.
    """
    if start is not None and end is not None and end <= start:
        raise UsageError(
            f"job {job_id} would stop at {_iso(end)}, before it may start at {_iso(start)}",
            "Give a later --until, or an earlier --not-before.",
        )


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to submit.

    Each name in ``resources`` may be held by only one running job. ``resumable``: whether another job may resume from
    its checkpoint; ``resumed``: whether it resumes from an earlier job's checkpoint; ``ends_source``: whether it
    deletes the source.
    """

    type: str
    source: str | None
    params: dict[str, Any]
    phases: tuple[PhaseState, ...]
    resources: tuple[str, ...]
    priority: int = 0
    dimension: int | None = None
    operation: str | None = None
    limits: Limits = Limits()
    resumable: bool = True
    resumed: bool = False
    ends_source: bool = False

    @property
    def key(self) -> str:
        """A hash of type, source and non-default parameters: equal for two submits of the same job."""
        return job_key(self.type, self.source, self.phases)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a job. Times are UTC, ISO 8601; the end, outcome and error of a running one are None."""

    attempt: int
    started_at: str
    finished_at: str | None = None
    outcome: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class JobRun:
    """An attempt of a job in the history of a home: which job, when, and how it ended.

    Times are UTC, ISO 8601; the end and outcome of a running attempt are None.
    """

    job_id: int
    type: str
    source: str | None
    started_at: str
    finished_at: str | None
    outcome: str | None


def job_key(job_type: str, source: str | None, phases: Iterable[PhaseState]) -> str:
    """Compute a job's key, which only one unfinished job may have.

    Args:
        job_type: the job's type.
        source: the source's id, if any.
        phases: the job's phases.
    """
    return hash_json([job_type, source, [phase.identity for phase in phases]])


def outcome_of(job: Job) -> Event | None:
    """The event that ended the last attempt of a job, None while the job is live."""
    if job.status is Status.INTERRUPTED:
        return Event.EXPIRE if job.reason == "time_limit" else Event.INTERRUPT
    ends = {Status.COMPLETED: Event.COMPLETE, Status.FAILED: Event.FAIL, Status.CANCELLED: Event.CANCEL}
    return ends.get(job.status)


def plain(text: str) -> str:
    """Make a text fit for a row: without the lone surrogates that file names may have, and cut to TEXT_LIMIT."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def _to_come(moment: float | None) -> float | None:
    return moment if moment is not None and moment > time.time() else None


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


MAX_PRIORITY = 2**31 - 1  # the lowest priority is its negative

TEXT_LIMIT = 4_000  # characters of a message or an error that the state keeps; the log has all of it

# The columns to select for job_from_row.
JOB_COLUMNS = ", ".join(column.name for column in fields(Job))
_NUMBERS = {column.name: number for number, column in enumerate(fields(Job))}
_JSON = [_NUMBERS["params"], _NUMBERS["result"]]
_BOOLEANS = [number for number, column in enumerate(fields(Job)) if column.type == "bool"]
_decode = json.JSONDecoder().decode  # faster than json.loads, which first checks the text's type and options
_STATUS, _PHASE, _PHASES = _NUMBERS["status"], _NUMBERS["phase"], _NUMBERS["phases"]


def job_from_row(row: Iterable[Any]) -> Job:
    """Read one row of ``SELECT {JOB_COLUMNS} FROM jobs``, by position: by name would be three times as slow."""
    values = list(row)
    for number in _JSON:
        if values[number] is not None:
            values[number] = _decode(values[number])
    for number in _BOOLEANS:
        values[number] = values[number] != 0
    values[_STATUS] = Status(values[_STATUS])
    values[_PHASES] = load_phases(values[_PHASES])
    if values[_PHASE] is not None:
        values[_PHASE] = RunningPhase(**json.loads(values[_PHASE]))
    return Job(*values)
