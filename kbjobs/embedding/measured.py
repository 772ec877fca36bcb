"""The measured speed of a model on this machine. Cheap to import, for what is shown before a job is queued."""

from __future__ import annotations

from pathlib import Path

from kbjobs.system.files import read_json

CHUNK_TOKENS = 256
"""Length of the passages that engines are timed with; shorter ones take less time per token."""
MEASURED_FILE = "engine.json"


def measured_speed(engines: Path, key: str) -> float | None:
    """Return the tokens per second of a model's chosen engine, by the model's key; None if none was measured."""
    content = read_json(engines / key / MEASURED_FILE)
    try:
        speeds = {one["engine"]: float(one["chunks_per_second"]) for one in (content or {})["measurements"]}
        return speeds[(content or {})["chosen"]] * CHUNK_TOKENS or None
    except (KeyError, TypeError, ValueError):
        return None
