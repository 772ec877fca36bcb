"""The folder of temporary files of a job's browser: its profile, which is thrown away.

It has the same name for each scrape of a source, so that the next one removes what a killed one has left.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kbjobs.system.child_process import make_environment

VARIABLE = "TMPDIR"


def name_browser_folder(source: Path) -> Path:
    """Name the folder for a source."""
    digest = hashlib.sha256(os.fsencode(source.absolute())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"kbjobs-browser-{os.getuid()}-{digest}"


def make_browser_folder(source: Path) -> Path:
    """Make the empty folder for a source, which the lock of the source keeps for one job at a time.

    Args:
        source: the folder of the source.
    """
    path = name_browser_folder(source)
    shutil.rmtree(path, ignore_errors=True)  # a link, or another user's folder, stays
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return Path(tempfile.mkdtemp(prefix=f"{path.name}-"))
    return path


def make_browser_environment(folder: Path) -> dict[str, str | float | bool]:
    """The environment of the browser: no secrets, and its folder as home, in which it looks for settings and caches."""
    places = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", VARIABLE), os.fspath(folder))
    return {**make_environment(), **places}


@contextlib.contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Let a process that is started meanwhile keep its temporary files in a folder.

    Playwright starts its driver with a copy of this process's environment, and takes no other.
    """
    former = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = os.fspath(folder)
    try:
        yield
    finally:
        if former is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = former
