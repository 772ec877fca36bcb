"""The files of maps, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import atomic_write

HEAD = 4_096  # bytes at the start of a file that must contain its state


@dataclass(frozen=True, slots=True)
class MapFiles:
    """The page of a map, an HTML file, and its points, a JSON file next to it."""

    page: Path

    @property
    def points(self) -> Path:
        """The JSON file."""
        return self.page.with_suffix(".json")

    def are_of(self, state: str) -> bool:
        """Whether both files exist and show that state."""
        return all(_names_state(path, state) for path in (self.page, self.points))


def _names_state(path: Path, state: str) -> bool:
    try:
        with path.open("rb") as file:
            return f'"{state}"'.encode() in file.read(HEAD)
    except OSError:
        return False


def write_page(files: MapFiles, content: str) -> None:
    """Write the page."""
    _write(files.page, [content])
    crash_point("map.page_renamed")


def write_points(files: MapFiles, facts: Mapping[str, Any], points: Iterable[Mapping[str, Any]]) -> None:
    """Write the points: a JSON object with the facts and a list ``points``, one point per line.

    Args:
        files: the map's files.
        facts: the facts of the map, as JSON values.
        points: the points, as JSON values.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    _write(files.points, _lines(facts, points))
    crash_point("map.points_renamed")


def _lines(facts: Mapping[str, Any], points: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    yield json.dumps(facts, ensure_ascii=False)[:-1] + ', "points": ['
    for number, point in enumerate(points):
        yield (",\n" if number else "\n") + json.dumps(point, ensure_ascii=False)
    yield "\n]}\n"


def _write(path: Path, parts: Iterable[str]) -> None:
    # Always the same name, so that leftovers of a kill are overwritten and never pile up.
    with atomic_write(path, path.with_name(f".{path.name}.part")) as file:
        file.writelines(part.encode() for part in parts)
        file.flush()
        crash_point("map.before_rename")
