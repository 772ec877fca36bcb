"""Finding a job type by its name."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from kbjobs.errors import UsageError
from kbjobs.phases.base import JobType
from kbjobs.phases.names import LEGACY, NAMES


def job_type(name: str) -> JobType:
    """The job type of that name, with dashes or underscores; raises UsageError."""
    wanted = name.replace("-", "_")
    if wanted in LEGACY and len(LEGACY[wanted]) == 1:
        wanted = LEGACY[wanted][0]
    if wanted not in NAMES:
        near = get_close_matches(wanted, NAMES, 1)
        hint = f"Did you mean {near[0].replace('_', '-')}? " if near else ""
        raise UsageError(f"unknown job type {name!r}", hint + "kbjobs types lists them.")
    found: JobType = import_module(f"kbjobs.phases.{wanted}").JOB_TYPE
    return found


def job_types() -> list[JobType]:
    """All job types."""
    return [job_type(name) for name in NAMES]
