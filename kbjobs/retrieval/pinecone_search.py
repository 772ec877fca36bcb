"""Answer queries from Pinecone: the service compares the vectors that pinecone-sync has sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kbjobs.config.home import Home
from kbjobs.config.secrets import find_secret
from kbjobs.config.settings import Settings
from kbjobs.content.search_words import find_matches, fold_query
from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL
from kbjobs.errors import NotFoundError, UsageError
from kbjobs.retrieval.hits import Hit, Query
from kbjobs.retrieval.query_model import RETRIES, TIMEOUT_SECONDS, QueryModel
from kbjobs.store.ledger_copy import open_ledger
from kbjobs.store.passages import Filter
from kbjobs.store.sources import SourceFolder, list_source_ids
from kbjobs.vectors.pinecone_places import last_namespace
from kbjobs.vectors.pinecone_target import PINECONE_KEY, read_target

if TYPE_CHECKING:
    from kbjobs.embedding.embedder import Embedder
    from kbjobs.vectors.pinecone_index import PineconeIndex, PineconeMatch

MODEL = TEXT_EMBEDDING_3_SMALL
MAX_HITS = 1000
PASSAGES_OF_HIT, MIN_PASSAGES, MAX_PASSAGES = 5, 50, 1000
"""Passages to request: several per hit, since a document has several; an answer has at most 4 MB."""


class PineconeSearcher:
    """Searches the sources of a home in Pinecone. Use as a context manager.

    ``on_notice`` is called if the index has nothing of a source. Raises MissingRequirementError if no index is set.
    """

    def __init__(self, home: Home, settings: Settings, on_notice: Callable[[str], None] = lambda text: None) -> None:
        self._home, self._settings, self._on_notice = home, settings, on_notice
        self._target = read_target(settings, "any")
        self._indexes: dict[str, PineconeIndex] = {}
        self._embedder: Embedder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for index in self._indexes.values():
            index.close()
        if self._embedder is not None:
            self._embedder.close()

    def search(self, query: Query) -> list[Hit]:
        """Search as :meth:`kbjobs.retrieval.searcher.Searcher.search` does, but only by vectors.

        Raises:
            UsageError: the query is empty, or asks for something that the index cannot do.
            NotFoundError: no such source or index, or nothing was ever sent there.
            MissingRequirementError, TransientError: a key is missing or refused; a service does not answer.
        """
        words, count, which = query.words, query.count, query.which
        _check(query)
        namespaces = self._find_namespaces(query.sources)
        for namespace in namespaces.values():
            self._index(namespace)  # report a missing key before paying for a query
        if self._embedder is None:
            self._embedder = QueryModel.find(MODEL.name, self._home, self._settings).load()
        vector = self._embedder.embed_query(words).tolist()
        max_passages = min(MAX_PASSAGES, max(MIN_PASSAGES, PASSAGES_OF_HIT * count))
        found: list[tuple[str, PineconeMatch]] = []
        for source_id, namespace in namespaces.items():
            index = self._index(namespace)
            matches = index.query(vector, max_passages, _filter(source_id, which))
            if not matches and not which:
                self._on_notice(f"{index.target} has nothing of {source_id}: kbjobs run pinecone-sync {source_id}")
            found.extend((source_id, match) for match in matches)
        found.sort(key=lambda one: -one[1].score)
        return _make_hits(words, found, count, query.passages)

    def _find_namespaces(self, sources: Sequence[str]) -> dict[str, str]:
        """Find each source's namespace: where it was last sent; a named source that was never sent gets its default
        one."""
        found: dict[str, str] = {}
        for source_id in dict.fromkeys(sources) or list_source_ids(self._home.sources):
            folder = SourceFolder(self._home.sources, source_id)
            if sources:
                folder.read()
            namespace = self._find_recorded(folder)
            if namespace is None and sources:
                namespace = read_target(self._settings, source_id).namespace
            if namespace is not None:
                found[source_id] = namespace
        if not found:
            raise NotFoundError(
                f"no source was sent to the Pinecone index {self._target.index!r} yet",
                "kbjobs run pinecone-sync SOURCE",
            )
        return found

    def _find_recorded(self, folder: SourceFolder) -> str | None:
        if not folder.ledger.exists():
            return None
        with open_ledger(folder.ledger) as ledger:
            return last_namespace(ledger, self._target.index)

    def _index(self, namespace: str) -> PineconeIndex:
        if namespace not in self._indexes:
            from kbjobs.vectors.pinecone_index import PineconeIndex

            self._indexes[namespace] = PineconeIndex(
                read_target(self._settings, "any", namespace),
                find_secret(self._home, PINECONE_KEY),
                self._home.pinecone_hosts,
                MODEL.dimension,
                retries=RETRIES,
                timeout=TIMEOUT_SECONDS,
            )
        return self._indexes[namespace]


def _check(query: Query) -> None:
    count, model = query.count, query.model
    if not query.words.strip():
        raise UsageError("no words were given", 'For example: kbjobs search "boil water".')
    if not 1 <= count <= MAX_HITS:
        raise UsageError(f"{count} is not a number of hits for Pinecone", f"Choose one from 1 to {MAX_HITS:,}.")
    if model is not None and model.strip().casefold() != MODEL.name:
        raise UsageError(f"Pinecone has vectors of {MODEL.name}, not of {model}", "Leave --model out.")
    if query.mode == "words":
        raise UsageError("Pinecone compares vectors, not words", "Leave --mode or --store out.")
    if query.which.path is not None:
        raise UsageError(
            "Pinecone cannot tell documents by the beginning of their path", "Leave --path or --store out."
        )


def _filter(source_id: str, which: Filter) -> dict[str, Any]:
    wanted: dict[str, Any] = {"source": {"$eq": source_id}}
    if which.language is not None:
        wanted["languages"] = {"$in": [which.language]}
    return wanted


def _make_hits(words: str, found: Sequence[tuple[str, PineconeMatch]], count: int, passages: bool) -> list[Hit]:
    """Make hits of the best passages, one per document unless all are wanted; no passage appears twice."""
    best: dict[tuple[str, ...], tuple[str, PineconeMatch]] = {}
    more: dict[tuple[str, ...], int] = {}
    seen: set[tuple[str, str, str]] = set()
    for source_id, match in found:
        document = (source_id, _text(match, "doc_id"))
        # There are two records of a passage while it is replaced, or if two homes have sent the same source.
        passage = (*document, _text(match, "url") + "\0" + _text(match, "text"))
        if passage in seen:
            continue
        seen.add(passage)
        key: tuple[str, ...] = passage if passages else document
        best.setdefault(key, (source_id, match))
        more[key] = more.get(key, -1) + 1
    shown = list(best.items())[:count]
    forms = fold_query(words, {_language(match) for _, (_, match) in shown})
    return [
        Hit(
            rank,
            round(match.score, 4),
            source_id,
            _text(match, "doc_id"),
            _text(match, "title"),
            _text(match, "url"),
            _text(match, "text"),
            MODEL.name,
            "vectors",
            tuple(find_matches(_text(match, "text"), _language(match), forms)),
            more[key],
        )
        for rank, (key, (source_id, match)) in enumerate(shown, start=1)
    ]


def _language(match: PineconeMatch) -> str | None:
    languages = match.metadata.get("languages")
    return str(languages[0]) if isinstance(languages, list) and languages else None


def _text(match: PineconeMatch, field: str) -> str:
    """Read a text from a record's metadata, which others may write too."""
    value = match.metadata.get(field)
    return value if isinstance(value, str) else ""
