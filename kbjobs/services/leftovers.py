"""What takes room in a home, and removing what nobody needs any longer."""

from __future__ import annotations

from collections.abc import Iterator

from kbjobs.config.home import Home
from kbjobs.store.leftovers import Leftover, find_leftovers, measure_tree, remove_leftovers
from kbjobs.system.findings import Finding

SHOWN = 5
"""How many parts of a home the check names."""


def prune_leftovers(home: Home, days: float, dry_run: bool = False) -> list[Leftover]:
    """Remove unfinished downloads that nobody has written to for ``days`` days; returns them. Raises OSError."""
    return find_leftovers(home, days) if dry_run else remove_leftovers(home, days)


def check_room(home: Home) -> Iterator[Finding]:
    """Tell what takes the room in a home: its largest folders, and the largest source."""
    if not home.path.is_dir():
        return
    parts = {path.name: measure_tree(path)[0] for path in home.path.iterdir()}
    large = sorted(parts, key=lambda name: (-parts[name], name))[:SHOWN]
    text = ", ".join(f"{name} {parts[name] / 1e6:,.0f} MB" for name in large if parts[name] >= 500_000)
    if home.sources.is_dir():
        sources = {path.name: measure_tree(path)[0] for path in home.sources.iterdir() if path.is_dir()}
        largest = max(sources, key=lambda name: sources[name], default="")
        if sources.get(largest, 0) >= 500_000:
            text += f"; the largest source is {largest}, {sources[largest] / 1e6:,.0f} MB"
    yield Finding("room", "ok", text or "less than 1 MB")
