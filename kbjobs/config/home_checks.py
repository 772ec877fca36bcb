"""Checks of the home that kbjobs doctor shows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from kbjobs.config.home import Home, refuse_network_home
from kbjobs.config.settings import Settings
from kbjobs.system.findings import Finding

LOW_BYTES = 1_000_000_000


def check_home(home: Home) -> Iterator[Finding]:
    """Check that the home can be used, and only by its owner."""
    if not home.path.exists():
        yield Finding("home", "note", f"{home.path} does not exist yet", "The first command that needs it creates it.")
        return
    refuse_network_home(home.path)
    if not os.access(home.path, os.W_OK | os.X_OK):
        yield Finding("home", "problem", f"{home.path} cannot be written", _make_writable(home.path))
    open_to_others = [
        path
        for path in (home.path, home.state_file, home.secrets_file, home.logs, home.sources)
        if path.exists() and path.stat().st_mode & 0o077
    ]
    for path in open_to_others:
        yield Finding("home", "problem", f"{path} is readable by other users", f"chmod go= {path}")
    if not open_to_others:
        yield Finding("home", "ok", f"{home.path} is private and on a local disk")


def _make_writable(path: Path) -> str:
    """Say how this user gets write access: to another user's folder, a wrong mode, or a read-only disk."""
    owner = path.stat().st_uid
    if owner != os.geteuid():
        return f"It belongs to user {owner}: chown -R {os.geteuid()} {path}, or use another KBJOBS_HOME."
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "Its disk is read-only: mount it for writing, or use another KBJOBS_HOME."
    return f"chmod u+rwx {path}"


def check_disk(home: Home) -> Iterator[Finding]:
    """Check that the disk of the home has room."""
    where = next(path for path in (home.path, *home.path.parents) if path.exists())
    free = shutil.disk_usage(where).free
    if free < LOW_BYTES:
        yield Finding("disk", "problem", f"{free / 1e6:.0f} MB are free", "Free some space, or move the home.")
    else:
        yield Finding("disk", "ok", f"{free / 1e9:.1f} GB are free")


def check_settings(home: Home) -> Iterator[Finding]:
    """Check that all settings are valid."""
    Settings(home)
    yield Finding("settings", "ok", "all are valid")
