"""Finding a job type by its name, first among those of kbjobs, then among those of other packages (entry points)."""

from __future__ import annotations

import logging
import sys
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from kbjobs.errors import KbjobsError, UsageError
from kbjobs.phases.job_type import JobType
from kbjobs.phases.names import INTERNAL, LEGACY, NAMES, resolve_name

ENTRY_POINT_GROUP = "kbjobs.job_types"

log = logging.getLogger(__name__)


class BrokenJobTypeError(KbjobsError):
    """A job type of another package cannot be loaded, or is not a job type."""


def job_type(name: str, dimension: object = None) -> JobType[Any]:
    """Load a job type by its current or old name, with dashes or underscores; raises UsageError.

    ``dimension`` decides if an old name stands for two types.
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
    """Whether a current or old name belongs to a job type; loads no type."""
    return name in NAMES or name in INTERNAL or name in LEGACY or name in _entry_points()


def job_types() -> list[JobType[Any]]:
    """Load all job types; types of other packages that cannot be loaded are left out with a warning."""
    found = [job_type(name) for name in NAMES]
    for point in _entry_points().values():
        try:
            found.append(_load(point))
        except BrokenJobTypeError as error:
            log.warning("%s", error.message)
    return found


def _entry_points() -> dict[str, EntryPoint]:
    """The entry points of other packages by name; they cannot take a name of kbjobs itself."""
    return _find_entry_points(tuple((path, _changed_at(path)) for path in sys.path))


@lru_cache(maxsize=1)
def _find_entry_points(places: tuple[tuple[str, int], ...]) -> dict[str, EntryPoint]:
    """The same, cached until one of ``places``, the folders of packages, changes: a search reads a file per package."""
    return {
        point.name: point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name not in (*NAMES, *INTERNAL)
    }


def _changed_at(path: str) -> int:
    """When an entry was last added to a folder or removed from it, in ns; 0 if there is no such folder."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


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
