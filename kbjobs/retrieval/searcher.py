"""Answer queries over one source, several, or all; opened indexes and loaded models are kept for the next query."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.embedding.cores import count_usable_cores
from kbjobs.errors import KbjobsError, NotFoundError, UnavailableError, UsageError
from kbjobs.retrieval.fusion import WordStatistics
from kbjobs.retrieval.hits import Hit, Query
from kbjobs.retrieval.open_index import Index, Near, Numbered, WordIndex
from kbjobs.retrieval.query_model import QueryModel, candidates, index_command, names_of
from kbjobs.retrieval.query_words import SourceWords, correct, count_words, fold, match_phrases
from kbjobs.retrieval.results import Found, SourceAnswer
from kbjobs.store.document_filter import DocumentFilter
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_copy import open_ledger
from kbjobs.store.locks import try_lock
from kbjobs.store.metadata import list_matching
from kbjobs.store.passages import Filter
from kbjobs.store.sources import SourceFolder, list_source_ids
from kbjobs.system.closing import Closable
from kbjobs.vectors.collection_swap import WorkingCopy

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    from kbjobs.embedding.embedder import Embedder
    from kbjobs.vectors.collection import Collection

OnDamaged = Callable[[str, KbjobsError], None]
DEPTH = 100  # passages of each ranking that are fused, at least
DEPTH_OF_HIT = 10  # … and per requested hit, since a document has several
MAX_COUNT = 1_000_000


class Searcher(Closable):
    """Searches the sources of a home. Use as a context manager.

    ``on_notice`` is told if something else was used than was asked for. ``on_damaged`` gets the id of each source that
    cannot be searched, and the reason, unless that source was the only one asked for.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        on_notice: Callable[[str], None] = lambda text: None,
        on_damaged: OnDamaged = lambda source_id, error: None,
    ) -> None:
        self._home, self._settings = home, settings
        self._on_notice, self._on_damaged = on_notice, on_damaged
        self._notices: set[str] = set()
        self._indexes: dict[tuple[str, str], Index | WordIndex] = {}
        self._embedders: dict[str, Embedder] = {}
        self._models: dict[str, tuple[tuple[int | None, ...], dict[str, str]]] = {}

    def close(self) -> None:
        """Release models and files."""
        for index in self._indexes.values():
            index.close()
        for embedder in self._embedders.values():
            embedder.close()
        self._indexes, self._embedders = {}, {}

    def forget_notices(self) -> None:
        """Give every notice again, for a caller that answers each search on its own."""
        self._notices.clear()

    def search(self, query: Query) -> list[Hit]:
        """Find the best passages for the words of a query.

        Raises:
            UsageError: the query is empty, or the count is out of range.
            NotFoundError, MissingRequirementError: no such source, model or index.
            UnavailableError: an index cannot be read.
        """
        _check(query.words, query.count)
        self._close_deleted()
        sources = query.sources
        indexed = self._find_indexed(sources)
        chosen, vector = self._embed(query, indexed)
        depth = min(MAX_COUNT, max(DEPTH, DEPTH_OF_HIT * query.count))
        opened = self._open_all(indexed, chosen, sources)
        words = query.words if query.mode == "vectors" else self._correct(query.words, opened)
        all_languages = {one.languages() for one in opened.values()}
        forms = {languages: fold(words, languages) for languages in all_languages}
        phrases = {languages: match_phrases(query.words, languages) for languages in all_languages}

        chosen_documents = {source_id: self._choose_documents(source_id, query) for source_id in opened}

        def ask(source_id: str, with_phrases: bool) -> SourceAnswer:
            index = opened[source_id]
            which = chosen_documents[source_id]
            of_words = forms[index.languages()]
            has_model = chosen is not None and chosen.key in indexed[source_id]
            some = replace(which, match=phrases[index.languages()]) if with_phrases else which
            near: Sequence[Near] = ()
            numbered: Sequence[Numbered] = ()
            if vector is not None and has_model and isinstance(index, Index):
                near = index.nearest(vector, depth, some)
            if query.mode != "vectors":
                numbered = index.by_words(list(dict.fromkeys(chain(*of_words))), depth, some)
            known = index.frequencies
            statistics = count_words(of_words, known) if known is not None else WordStatistics()
            return SourceAnswer(index, of_words, near, numbered, some, statistics)

        def ask_all(with_phrases: bool) -> Found:
            found = Found(depth, vector)
            with ThreadPoolExecutor(count_usable_cores()) as pool:
                asked = {source_id: pool.submit(ask, source_id, with_phrases) for source_id in opened}
            for source_id, answer in asked.items():
                try:
                    found.add(source_id, answer.result())
                except UnavailableError as error:
                    self._report_damaged(source_id, error, sources)
            return found

        has_phrases = any(phrases.values())
        found = ask_all(has_phrases)
        if has_phrases and not found:
            self._notice("no passage has the quoted words in that order: searched without the quotes.")
            found = ask_all(False)
        name = chosen.name if chosen is not None and vector is not None else None
        return found.hits(query, name)

    def _choose_documents(self, source_id: str, query: Query) -> Filter:
        """The filter of a query, with the ids of the documents that its metadata filter leaves."""
        if query.documents == DocumentFilter():
            return query.which
        ledger = SourceFolder(self._home.sources, source_id).ledger
        found: list[str] = []
        if ledger.exists():
            with open_ledger(ledger) as opened:
                found = list_matching(opened, query.documents)
        if not found:
            command = f"kbjobs run metadata {source_id}"
            self._notice(
                f"no document of {source_id} has such a tag, date or type; {command} reads what its documents say."
            )
        return replace(query.which, documents=tuple(found))

    def _correct(self, words: str, opened: Mapping[str, Index | WordIndex]) -> str:
        """Replace misspelt words of a query, and say so."""
        found = [(one.frequencies, one.languages()) for one in opened.values()]
        corrected, replaced = correct(words, [SourceWords(known, tags) for known, tags in found if known is not None])
        for word, better in replaced.items():
            if not word.casefold().startswith(better):  # another form of the same word
                self._notice(f"no passage has the word {word}: searched for {better} instead.")
        return corrected

    def embed(self, words: str, model: str) -> NDArray[float32]:
        """Embed a query: float32 of unit length."""
        return self._embed_with(QueryModel.find(model, self._home, self._settings), words)

    def _close_deleted(self) -> None:
        """Close the indexes of deleted sources: their files would fill the disk for as long as they are open."""
        for key in [key for key in self._indexes if not SourceFolder(self._home.sources, key[0]).manifest.exists()]:
            self._indexes.pop(key).close()

    def _find_indexed(self, sources: Sequence[str]) -> dict[str, dict[str, str]]:
        """Find the models that each source has an index of: their names by key."""
        found: dict[str, dict[str, str]] = {}
        for source_id in dict.fromkeys(sources) or list_source_ids(self._home.sources):
            folder = SourceFolder(self._home.sources, source_id)
            try:
                found[source_id] = self._models_of(folder)
            except UnavailableError as error:
                self._report_damaged(source_id, error, sources)
            except NotFoundError:
                if sources:
                    raise
        return found

    def _report_damaged(self, source_id: str, error: UnavailableError, sources: Sequence[str]) -> None:
        """Report a source that cannot be searched; raise the error if only that source was asked for."""
        if len(sources) == 1:
            raise error
        self._on_damaged(source_id, error)

    def _models_of(self, folder: SourceFolder) -> dict[str, str]:
        """Find the names of a source's models by key, again whenever one of its files has changed."""
        files = (folder.manifest, folder.ledger, Path(f"{folder.ledger}-wal"), folder.vectors)
        state = tuple(_changed_at(path) for path in files)
        known = self._models.get(folder.id)
        if known is None or known[0] != state:
            folder.read()
            known = self._models[folder.id] = (state, _models_of(folder))
        return known[1]

    def _embed(
        self, query: Query, indexed: Mapping[str, Mapping[str, str]]
    ) -> tuple[QueryModel | None, NDArray[float32] | None]:
        """Choose the model and embed the query; None if only words are compared."""
        words, sources, model, mode = query.words, query.sources, query.model, query.mode
        names = candidates(indexed, self._settings.text("model"))
        if not names:
            folders = (SourceFolder(self._home.sources, source_id) for source_id in indexed)
            if mode != "vectors" and model is None and any(folder.words.exists() for folder in folders):
                return None, None
            # The model may be missing on this machine: that matters to the indexing command, not here.
            raise self._not_indexed(sources, indexed, None, model)
        if mode == "words":
            return None, None
        if model is not None:
            chosen = QueryModel.find(model, self._home, self._settings)
            self._require(chosen, indexed, sources)
            return chosen, self._embed_with(chosen, words)
        problem: KbjobsError | None = None
        for name in names:
            try:
                chosen = QueryModel.find(name, self._home, self._settings)
                self._require(chosen, indexed, sources)
                vector = self._embed_with(chosen, words)
            except KbjobsError as error:
                problem = problem or error
                continue
            if problem is not None:
                self._notice(f"{problem.message}: searched with {chosen.name} instead.")
            return chosen, vector
        assert problem is not None  # noqa: S101 — else one was returned
        if mode == "vectors":
            raise problem
        self._notice(f"{problem.message}: searched by words alone.")
        return None, None

    def _embed_with(self, model: QueryModel, words: str) -> NDArray[float32]:
        if model.key not in self._embedders:
            self._embedders[model.key] = model.load()
        return self._embedders[model.key].embed_query(words)

    def _require(self, model: QueryModel, indexed: Mapping[str, Mapping[str, str]], sources: Sequence[str]) -> None:
        """Raise NotFoundError if no source has an index of the model; name those that have others."""
        if not any(model.key in models for models in indexed.values()):
            raise self._not_indexed(sources, indexed, model)
        for source_id, models in indexed.items():
            if models and model.key not in models:
                names = ", ".join(sorted(set(models.values())))
                self._notice(f"{source_id} is indexed with {names} and not with {model.name}: searched by words alone.")

    def _open_all(
        self, indexed: Mapping[str, Mapping[str, str]], chosen: QueryModel | None, sources: Sequence[str]
    ) -> dict[str, Index | WordIndex]:
        """Open the index of each source that has one."""
        opened: dict[str, Index | WordIndex] = {}
        cleared = 0  # since the indexed sources were listed
        for source_id, models in indexed.items():
            try:
                index = self._open(source_id, models, chosen)
            except UnavailableError as error:
                self._report_damaged(source_id, error, sources)
                continue
            if index is not None and index.is_gone:
                cleared += 1
            elif index is not None:
                opened[source_id] = index
        if cleared and not opened:
            raise self._not_indexed(sources, {}, chosen)
        return opened

    def _open(self, source_id: str, models: Mapping[str, str], chosen: QueryModel | None) -> Index | WordIndex | None:
        """Open the index to search: the chosen model's, else any for its words; None if there is none."""
        folder = SourceFolder(self._home.sources, source_id)
        if not models and not folder.words.exists():
            return None
        key = "" if not models else chosen.key if chosen is not None and chosen.key in models else next(iter(models))
        index = self._indexes.get((source_id, key))
        if index is None or not index.is_current:
            if index is not None:
                index.close()
            index = self._indexes[source_id, key] = self._open_fresh(folder, key)
        if isinstance(index, WordIndex):
            self._notice(index.notice)
        return index

    def _open_fresh(self, folder: SourceFolder, key: str) -> Index | WordIndex:
        if not key:
            try:
                return WordIndex(folder)
            except (sqlite3.Error, ValueError, TypeError) as error:
                raise UnavailableError(
                    f"the word index of source {folder.id} cannot be read ({error})",
                    f"Remove {folder.words}, then run the job that indexed the source again.",
                ) from error
        copies = WorkingCopy(folder.vectors / key)
        open_collection = partial(self._open_collection, folder, key)
        index = Index(copies, open_collection)
        if not index.damage:
            return index
        problem = self._mend(folder, key, index.path)
        if not problem:
            self._notice(f"the index of {folder.id} was damaged ({index.damage}): built again from the ledger.")
            return Index(copies, open_collection)
        self._notice(
            f"{folder.id} is searched with Chroma, not exactly: {index.damage}; {problem}."
            f" kbjobs sources rebuild {folder.id} mends it."
        )
        return index

    def _open_collection(self, folder: SourceFolder, key: str) -> AbstractContextManager[Collection]:
        from kbjobs.vectors.indexed import open_published

        return open_published(self._home, self._settings, folder, key)

    def _mend(self, folder: SourceFolder, key: str, path: Path) -> str:
        """Rebuild a damaged exact index from the ledger. Returns the obstacle, "" on success."""
        from kbjobs.vectors.exact import mend_exact

        try:
            lock = try_lock(folder.lock, 0)
            if lock is None:
                return "a job is at work on it"
            try:
                with Ledger(folder.ledger) as ledger:
                    (row,) = (row for row in ledger.models() if row.key == key)
                    mend_exact(ledger, row.id, row.profile, path)
            finally:
                lock.release()
        except (OSError, sqlite3.Error, ValueError, LookupError, KbjobsError) as error:
            return f"it cannot be mended ({error})"
        return ""

    def _notice(self, text: str) -> None:
        if text not in self._notices:
            self._notices.add(text)
            self._on_notice(text)

    def _not_indexed(
        self,
        sources: Sequence[str],
        indexed: Mapping[str, Mapping[str, str]],
        model: QueryModel | None,
        wanted: str | None = None,
    ) -> NotFoundError:
        what = f"source {sources[0]!r} has no" if len(sources) == 1 else "no source has an"
        command = model.index_command if model is not None else index_command(wanted)
        hint = f"kbjobs run {command.format(sources[0] if len(sources) == 1 else 'SOURCE')}"
        there = names_of(indexed.values())
        if model is None or not there:
            return NotFoundError(f"{what} index yet", hint)
        return NotFoundError(
            f"{what} index of {model.name}; there is one of {', '.join(there)}",
            f"Search with --model {there[0]}, or index it: {hint}",
        )


def _check(words: str, count: int) -> None:
    if not words.strip():
        raise UsageError("no words were given", 'For example: kbjobs search "boil water".')
    if any("\ud800" <= character <= "\udfff" for character in words):  # Python's form of bytes that are not text
        raise UsageError("the words are not valid UTF-8", "Check the terminal's character set.")
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"{count} is not a number of hits", f"Choose one from 1 to {MAX_COUNT:,}.")


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _models_of(folder: SourceFolder) -> dict[str, str]:
    if not folder.ledger.exists():
        return {}
    with open_ledger(folder.ledger) as ledger:
        return {row.key: row.name for row in ledger.models() if WorkingCopy(folder.vectors / row.key).is_there()}
