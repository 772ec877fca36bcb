"""Models that other programs have left in the Hugging Face cache on this disk.

Plain paths, never the network. Layout and variables:
https://huggingface.co/docs/huggingface_hub/guides/manage-cache and
https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
"""

from __future__ import annotations

import os
from pathlib import Path


def hub_cache_dir() -> Path:
    """Return the folder of the cache, which need not exist."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(variable):
            return Path(value).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def find_snapshot(hub_id: str) -> Path | None:
    """Return the newest snapshot of ``organisation/name`` in the cache.

    The revision that ``refs/main`` names is preferred; without it, the snapshot changed last.
    """
    repository = hub_cache_dir() / f"models--{hub_id.replace('/', '--')}"
    snapshots = repository / "snapshots"
    try:
        revision = (repository / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        revision = ""
    if revision and "/" not in revision and (snapshots / revision).is_dir():
        return snapshots / revision
    try:
        folders = [folder for folder in snapshots.iterdir() if folder.is_dir()]
    except OSError:
        return None
    return max(folders, key=lambda folder: folder.stat().st_mtime_ns, default=None)
