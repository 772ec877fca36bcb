"""Search in the home, or in the vectors that pinecone-sync has sent to Pinecone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kbjobs.config.home import Home, current_home
from kbjobs.config.settings import Settings
from kbjobs.errors import KbjobsError, UsageError
from kbjobs.retrieval.hits import MODES, Hit, Mode, Query

if TYPE_CHECKING:
    from kbjobs.retrieval.pinecone_search import PineconeSearcher
    from kbjobs.retrieval.searcher import Searcher

OnNotice = Callable[[str], None]
"""Called with notices about a search for the user."""

OnDamaged = Callable[[str, KbjobsError], None]
"""Called with the id of a source that cannot be searched, and the error."""


def _ignore_notice(notice: str) -> None:
    """Ignore the notice."""


def _ignore_damaged(source_id: str, error: KbjobsError) -> None:
    """Ignore the error."""


def open_searcher(
    home: Home, on_notice: OnNotice = _ignore_notice, on_damaged: OnDamaged = _ignore_damaged
) -> Searcher:
    """Open a searcher of a home's sources, as a context manager.

    Args:
        home: the home to search.
        on_notice: called with notices, such as that a search differs from the request.
        on_damaged: called with the id of each source that cannot be searched, and the error.
    """
    from kbjobs.retrieval.searcher import Searcher

    return Searcher(home, Settings(home), on_notice, on_damaged)


def open_pinecone_searcher(home: Home, on_notice: OnNotice) -> PineconeSearcher:
    """Open a searcher of Pinecone namespaces, as a context manager."""
    from kbjobs.retrieval.pinecone_search import PineconeSearcher

    return PineconeSearcher(home, Settings(home), on_notice)


def search_home(home: Home, query: Query, notices: list[str]) -> list[Hit]:
    """Search the sources of a home.

    Args:
        home: the home to search.
        query: the query.
        notices: a list to which notices for the user are added, such as sources that were left out.

    Returns:
        Hits, best first.
    """

    def note(source_id: str, error: KbjobsError) -> None:
        notices.append(f"Left out: source {source_id}: {error.message}")

    with open_searcher(home, notices.append, note) as searcher:
        return searcher.search(query)


def search(
    words: str,
    source: str | Sequence[str] | None = None,
    count: int = 10,
    model: str | None = None,
    mode: Mode = "hybrid",
) -> list[Hit]:
    """The best passage of each document for the words, as ``kbjobs search --json`` prints them.

    Args:
        words: the words to search for.
        source: an id, several ids, or None for all sources.
        count: the number of hits, from 1.
        model: the model's name; by default the one that the sources were indexed with.
        mode: "hybrid", "vectors" or "words".

    Raises:
        UsageError, NotFoundError, MissingRequirementError, UnavailableError: as the command would fail.
    """
    if mode not in MODES:
        raise UsageError(f"{mode!r} is not a mode", f"Choose one of {', '.join(MODES)}.")
    sources = () if source is None else (source,) if isinstance(source, str) else tuple(source)
    with open_searcher(current_home()) as searcher:
        return searcher.search(Query(words, sources, count, model, mode))
