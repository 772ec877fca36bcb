"""Search, for Python callers."""

from __future__ import annotations

from collections.abc import Sequence

from kbjobs.config.home import current_home
from kbjobs.config.settings import Settings
from kbjobs.retrieval.hits import MODES, Hit, Mode


def search(
    words: str,
    source: str | Sequence[str] | None = None,
    count: int = 10,
    model: str | None = None,
    mode: Mode = "hybrid",
) -> list[Hit]:
    """The best passage of each document for the words, as ``kbjobs search --json`` prints them.

    Args:
        words: what is looked for.
        source: an id, several, or None for all sources.
        count: how many hits, from 1.
        model: its name; by default the one that the sources were indexed with.
        mode: "hybrid", "vectors" or "words".

    Raises:
        UsageError, NotFoundError, MissingRequirementError, UnavailableError: as the command would end.
    """
    from kbjobs.errors import UsageError
    from kbjobs.retrieval.searcher import Searcher

    if mode not in MODES:
        raise UsageError(f"{mode!r} is not a mode", f"Choose one of {', '.join(MODES)}.")
    sources = () if source is None else (source,) if isinstance(source, str) else tuple(source)
    home = current_home()
    with Searcher(home, Settings(home)) as searcher:
        return searcher.search(words, sources, count, model, mode)
