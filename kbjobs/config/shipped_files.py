"""Files that come with kbjobs in addition to its code: the example pages and the documentation."""

from __future__ import annotations

import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path("share/kbjobs")


def find_shipped(name: str, in_repository: str) -> Path:
    """Find a folder of shipped files.

    Args:
        name: the folder below ``share/kbjobs`` of an installed package.
        in_repository: the folder below the root of a clone, from which kbjobs may run.

    Returns:
        The clone's folder if kbjobs runs from a clone, or else the installed package's, which may be missing.
    """
    cloned = REPOSITORY / in_repository
    if (REPOSITORY / "pyproject.toml").is_file() and cloned.is_dir():
        return cloned
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    places = [Path(sysconfig.get_path("data", scheme)) / SHARED / name for scheme in schemes]
    return next((place for place in places if place.is_dir()), places[0])
