"""Putting a folder of downloaded files in the place of another: whole or not there, also after a power cut."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kbjobs.system.crashpoints import crash_point


def publish_folder(staging: Path, target: Path) -> None:
    """Rename ``staging`` to ``target``, on the same disk. What was there before goes.

    A kill between the two renames leaves the former folder beside the staging folder, as ``NAME.former``, and nothing
    in its place: the same call, repeated, ends it.

    Raises:
        OSError: the disk cannot be written.
    """
    for file in staging.rglob("*"):
        _sync(file)
    _sync(staging)
    former = staging.with_name(f"{staging.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    crash_point("download.before_publish")
    if target.exists():
        target.rename(former)
        crash_point("download.between_renames")
    staging.rename(target)
    crash_point("download.published")
    _sync(target.parent)
    shutil.rmtree(former, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
