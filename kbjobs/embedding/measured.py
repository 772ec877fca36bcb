"""How fast a model was measured to be on this machine. Light: for what is told before a job is queued."""

from __future__ import annotations

from pathlib import Path

from kbjobs.system.files import read_json

CHUNK_TOKENS = 256
"""Length of the passages by which engines are timed; shorter ones take less time for each token."""
MEASURED_FILE = "engine.json"


def measured_speed(engines: Path, key: str) -> float | None:
    """Tokens a second of the engine that was chosen for a model, by its key; None if none was measured."""
    content = read_json(engines / key / MEASURED_FILE)
    try:
        speeds = {one["engine"]: float(one["chunks_per_second"]) for one in (content or {})["measurements"]}
        return speeds[(content or {})["chosen"]] * CHUNK_TOKENS or None
    except (KeyError, TypeError, ValueError):
        return None
