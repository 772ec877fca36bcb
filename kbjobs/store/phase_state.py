"""The phases of a job as values in the state, and the identity that two equal jobs share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Literal

OnError = Literal["stop", "continue"]
UNLIKE = frozenset({"sys_path"})  # no part of a phase's identity: where the caller looks for modules


class PhaseStatus(StrEnum):
    """The status of a phase."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class PhaseState:
    """One phase of a job.

    ``job`` is its type; ``params`` are all its parameters, ``chosen`` the non-default ones; ``weight`` is its share in
    percent; ``result`` holds its counts; ``failed`` is the number of failed documents; ``seconds`` is its duration, at
    ``rate`` ``unit`` per second; ``progress`` is its own percentage while it runs; ``started_at`` is when it first
    started and ``finished_at`` when it ended, in UTC, ISO 8601; ``is_skipped``: an earlier job has completed it.
    """

    name: str
    job: str
    params: dict[str, Any]
    weight: float
    status: PhaseStatus = PhaseStatus.PENDING
    result: dict[str, Any] | None = None
    dimension: int | None = None
    on_error: OnError = "stop"
    retries: int | None = None
    chosen: dict[str, Any] | None = None
    progress: float | None = None
    summary: str | None = None
    failed: int = 0
    error: str | None = None
    seconds: float | None = None
    rate: float | None = None
    unit: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    is_skipped: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether it has completed or failed; the chain may continue after a failed phase."""
        return self.status in (PhaseStatus.COMPLETED, PhaseStatus.FAILED)

    @property
    def is_completed(self) -> bool:
        """Whether it has succeeded."""
        return self.status is PhaseStatus.COMPLETED

    def restarted(self) -> PhaseState:
        """The phase as it was when its job was first submitted."""
        return replace(self, **_OUTCOME)

    def as_dict(self) -> dict[str, Any]:
        """The phase as the JSON that ``--json`` prints; values at their default are left out, except for _ALWAYS."""
        found = {name: getattr(self, attribute) for attribute, name in _NAMES.items()}
        found["status"] = str(self.status)
        return {name: value for name, value in found.items() if name in _ALWAYS or value != _DEFAULTS.get(name)}

    def as_stored(self) -> dict[str, Any]:
        """The phase as the state keeps it."""
        return self.as_dict() if self.chosen is None else {**self.as_dict(), "chosen": self.chosen}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PhaseState:
        """Read a phase as stored by this version or another one. Unknown keys are ignored."""
        status = PhaseStatus(values.get("status") or PhaseStatus.PENDING)
        more = {name: values[name] for name in _OPTIONAL if values.get(name) is not None}
        return cls(
            str(values.get("name", "")),
            str(values.get("job", "")),
            dict(values.get("params") or {}),
            float(values.get("weight") or 0.0),
            status,
            is_skipped=bool(values.get("skipped")),
            **more,
        )

    @property
    def identity(self) -> list[Any]:
        """The type and the non-default parameters.

        If a type gains a parameter, the identity stays the same for jobs that do not use it. Older versions did not
        store which parameters were at their default; all defaults of their types were None, false or empty.
        """
        chosen = self.chosen
        if chosen is None:
            chosen = {name: value for name, value in self.params.items() if value not in (None, False, [], {})}
        return [self.job, {name: value for name, value in chosen.items() if name not in UNLIKE}]


_SORTED = json.JSONEncoder(sort_keys=True, ensure_ascii=False)  # json.dumps would make one each time
_NAMES = {field.name: field.name for field in fields(PhaseState) if field.name != "chosen"}
_NAMES["is_skipped"] = "skipped"
_DEFAULTS: dict[str, Any] = {"on_error": "stop", "failed": 0, "skipped": False}
_ALWAYS = frozenset({"name", "job", "params", "weight", "status", "result"})
_OUTCOME_NAMES = (
    "result",
    "progress",
    "summary",
    "failed",
    "error",
    "seconds",
    "rate",
    "unit",
    "started_at",
    "finished_at",
)
_OPTIONAL = ("dimension", "on_error", "retries", "chosen", *_OUTCOME_NAMES)
_OUTCOME: dict[str, Any] = {
    field.name: field.default for field in fields(PhaseState) if field.name in (*_OUTCOME_NAMES, "status", "is_skipped")
}


def dump_phases(phases: Iterable[PhaseState]) -> str:
    """Phases as JSON, for a row of the state."""
    return json.dumps([phase.as_stored() for phase in phases])


def load_phases(text: str) -> tuple[PhaseState, ...]:
    """Read the JSON that :func:`dump_phases` wrote."""
    return tuple(PhaseState.from_dict(values) for values in json.loads(text))


def fingerprint(phases: Iterable[PhaseState]) -> str:
    """A hash that is equal for chains whose phases have the same types and parameters in the same order."""
    return hash_json([phase.identity for phase in phases])


def reopened(phases: Iterable[PhaseState], also_passed: bool) -> tuple[PhaseState, ...]:
    """The phases of a job that resumes: phases that did not complete are pending again, and keep their first start.

    ``also_passed``: whether phases that failed and let the chain continue are pending again, too.
    """
    return tuple(
        phase
        if phase.is_completed or (phase.has_ended and phase.on_error == "continue" and not also_passed)
        else replace(phase.restarted(), started_at=phase.started_at)
        for phase in phases
    )


def first_open(phases: Sequence[PhaseState]) -> int:
    """The index of the phase at which a job resumes; 0 if all have ended."""
    return next((index for index, phase in enumerate(phases) if not phase.has_ended), 0)


def open_phases(phases: Sequence[PhaseState]) -> list[int]:
    """The indexes of the phases that have not ended."""
    return [index for index, phase in enumerate(phases) if not phase.has_ended]


def hash_json(value: Any) -> str:
    """A hash that is equal for equal JSON values."""
    import hashlib  # a list of jobs hashes nothing

    return hashlib.sha256(_SORTED.encode(value).encode("utf-8", "surrogatepass")).hexdigest()[:32]
