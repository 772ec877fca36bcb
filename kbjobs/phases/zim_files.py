"""Checks of ZIM files before a job is queued. Light: only the job itself uses libzim."""

from __future__ import annotations

import re
from pathlib import Path

from kbjobs.content.source_files import ARCHIVE_MAGIC
from kbjobs.errors import NotFoundError, UsageError
from kbjobs.store.sources import SourceFolder, is_source_id

CHECK_DOWNLOAD = "Check that its download is complete: compare its size, or run zimcheck (Debian: zim-tools) on it."
"""What to do about an archive that libzim cannot open."""

PART = re.compile(r"\.zim(?:[a-z]{2})?\Z", re.IGNORECASE)


def check_zim(path: str) -> Path:
    """Check a ZIM file, and return its absolute path, or the path of its first part.

    Raises NotFoundError if there is no such file, UsageError if it is not a ZIM file.
    """
    file = Path(path).expanduser().absolute()
    parts = sorted(file.parent.glob(f"{file.name}[a-z][a-z]")) if not file.exists() and file.parent.is_dir() else []
    if not file.exists() and not parts:
        raise NotFoundError(f"there is no file {file}", "Give the path of a .zim file, or of one of its parts.")
    first = parts[0] if parts else file
    if not first.is_file():
        raise UsageError(
            f"{file} is not a file", "Give the path of a .zim file; kbjobs sources add ID PATH registers a folder."
        )
    try:
        with first.open("rb") as opened:
            head = opened.read(len(ARCHIVE_MAGIC))
    except OSError as error:
        raise NotFoundError(
            f"{first} cannot be read: {(error.strerror or '').lower()}", "Check its permissions."
        ) from error
    if head != ARCHIVE_MAGIC and not re.search(r"\.zim[a-z]{2}\Z", first.name, re.IGNORECASE):
        raise UsageError(
            f"{file} is not a ZIM file: it does not start like one",
            "Check that it is the right file, and that its download is complete.",
        )
    return first


def zims_of(source: SourceFolder) -> list[Path]:
    """The ZIM files among the paths of a source."""
    return [Path(path) for path in source.read().paths if PART.search(path)]


def name_source(path: str) -> str:
    """Make a source id from a file's name without its suffix; other characters than an id may have become ``-``."""
    stem = PART.sub("", Path(path).name).lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", stem).strip("._-")[:63].strip("._-")
    if not is_source_id(name):
        raise UsageError(f"the name of {path} does not give an id for a source", "Give one: --source ID.")
    return name
