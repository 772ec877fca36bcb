"""Finding a job type by its name: those of kbjobs, then those of other packages (entry points)."""

from __future__ import annotations

import logging
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kbjobs.errors import KbjobsError, UsageError
from kbjobs.phases.job_type import JobType
from kbjobs.phases.names import INTERNAL, LEGACY, NAMES, resolve_name

ENTRY_POINT_GROUP = "kbjobs.job_types"

log = logging.getLogger(__name__)


class BrokenJobTypeError(KbjobsError):
    """A job type of another package cannot be loaded, or is none."""


def job_type(name: str, dimension: object = None) -> JobType[Any]:
    """The job type of that name, with dashes or underscores, or of that former name; raises UsageError.

    ``dimension`` tells which is meant by a former name that stands for two.
    """
    wanted = resolve_name(name, dimension)
    if wanted in NAMES or wanted in INTERNAL:
        found: JobType[Any] = import_module(f"kbjobs.phases.{wanted}").JOB_TYPE
        return found
    others = _entry_points()
    if wanted in others:
        return _load(others[wanted])
    near = get_close_matches(wanted, (*NAMES, *others), 1)
    hint = f"Did you mean {near[0].replace('_', '-')}? " if near else ""
    raise UsageError(f"unknown job type {name!r}", hint + "kbjobs types lists them.")


def is_taken(name: str) -> bool:
    """Whether a name, of today or former, is that of a job type; loads none."""
    return name in NAMES or name in INTERNAL or name in LEGACY or name in _entry_points()


def job_types() -> list[JobType[Any]]:
    """All job types; one of another package that cannot be loaded is left out with a warning."""
    found = [job_type(name) for name in NAMES]
    for point in _entry_points().values():
        try:
            found.append(_load(point))
        except BrokenJobTypeError as error:
            log.warning("%s", error.message)
    return found


def _entry_points() -> dict[str, EntryPoint]:
    """Those of other packages, by name; a name of kbjobs itself cannot be taken."""
    return {
        point.name: point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name not in (*NAMES, *INTERNAL)
    }


def _load(point: EntryPoint) -> JobType[Any]:
    where = f"job type {point.name!r} ({point.value})"
    try:
        found = point.load()
    except Exception as error:
        raise BrokenJobTypeError(
            f"{where} cannot be loaded: {error}", "Correct or uninstall the package that it comes from."
        ) from error
    if not isinstance(found, JobType) or found.name != point.name:
        raise BrokenJobTypeError(
            f"{where} is not a JobType of that name", "Correct or uninstall the package that it comes from."
        )
    return found
