"""Merge the answers of the sources into one list of hits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeVar

from kbjobs.content.search_words import find_matches
from kbjobs.retrieval.fusion import fuse
from kbjobs.retrieval.hits import Hit, Mode, Query
from kbjobs.retrieval.open_index import Index, Near, Numbered, Scored, WordIndex
from kbjobs.store.passages import Filter, Passage, PassageEntry

Key = tuple[str, str]  # a source, and a passage or a document of it
Forms = list[tuple[str, ...]]  # for each word of a query
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """A source's answer: vectors, and numbers of passages with their BM25. No passage has been read yet."""

    index: Index | WordIndex
    forms: Forms
    near: Sequence[Near]
    numbered: Sequence[Numbered]

    def passages_near(self, near: Sequence[Near], which: Filter) -> list[Scored]:
        """Do the same as :meth:`Index.passages_near`."""
        return self.index.passages_near(near, which) if isinstance(self.index, Index) else []


class Found:
    """Collects the answers of all sources; passages are read only once it is clear which ones count.

    Args:
        depth: how many passages of each ranking count.
        which: which documents count.
    """

    def __init__(self, depth: int, which: Filter) -> None:
        self._depth, self._which = depth, which
        self._answers: dict[str, SourceAnswer] = {}

    def add(self, source_id: str, answer: SourceAnswer) -> None:
        """Add the answer of a source."""
        self._answers[source_id] = answer

    def hits(self, query: Query, model: str | None) -> list[Hit]:
        """Choose the best hits: the best passage of each document, or all of them if the query asks for passages.

        Args:
            query: the query.
            model: the model that embedded the query, None if none did.
        """
        rankings = [self._rank_by_vectors(), self._rank_by_words()]
        used: Mode = (
            "hybrid" if all(rankings) else "vectors" if model is not None and query.mode != "words" else "words"
        )
        order, more = _order(rankings, query.passages)
        found = {key: one for ranking in reversed(rankings) for key, one in ranking}
        shown = {key: found[key].passage for key in order[: query.count]}
        cosines = {key: one.score for key, one in rankings[0]}
        cosines |= self._more_cosines({key: entry for key, entry in shown.items() if key not in cosines})
        read = self._read(shown)
        return [
            Hit(
                rank,
                round(cosines[key], 4) if key in cosines else None,
                key[0],
                passage.doc_id,
                passage.title,
                passage.url,
                passage.text,
                model,
                used,
                tuple(find_matches(passage.text, passage.language, self._answers[key[0]].forms)),
                more.get((key[0], passage.doc_id), 0),
            )
            for rank, (key, passage) in enumerate(((key, read[key]) for key in shown), start=1)
        ]

    def _rank_by_vectors(self) -> list[tuple[Key, Scored]]:
        best = self._best({name: answer.near for name, answer in self._answers.items()})
        return self._rank({name: self._answers[name].passages_near(near, self._which) for name, near in best.items()})

    def _rank_by_words(self) -> list[tuple[Key, Scored]]:
        best = self._best({name: answer.numbered for name, answer in self._answers.items()})
        return self._rank({name: self._answers[name].index.passages_with(ones) for name, ones in best.items()})

    def _best(self, found: Mapping[str, Sequence[tuple[Item, float]]]) -> dict[str, list[tuple[Item, float]]]:
        """Keep what may be among the best of all sources; each item stands for at least one passage."""
        scores = sorted((score for ones in found.values() for _, score in ones), reverse=True)
        min_score = scores[: self._depth][-1] if scores else 0.0
        best = {name: list(takewhile(lambda one: one[1] >= min_score, ones)) for name, ones in found.items()}
        return {name: ones for name, ones in best.items() if ones}

    def _rank(self, scored: Mapping[str, Iterable[Scored]]) -> list[tuple[Key, Scored]]:
        ranking = [((source_id, one.passage.id), one) for source_id, found in scored.items() for one in found]
        return sorted(ranking, key=lambda pair: -pair[1].score)[: self._depth]

    def _more_cosines(self, entries: Mapping[Key, PassageEntry]) -> dict[Key, float]:
        """Find the cosines of passages that their source found by vectors, but that were beaten by other sources'
        passages."""
        found: dict[Key, float] = {}
        for source_id, of_source in _by_source(entries).items():
            answer = self._answers[source_id]
            rows = {name for name, _ in answer.near}
            if any(entry.vector is None or entry.vector in rows for entry in of_source):
                near = answer.passages_near(answer.near, self._which)[: self._depth]
                found |= {(source_id, one.passage.id): one.score for one in near}
        return found

    def _read(self, entries: Mapping[Key, PassageEntry]) -> dict[Key, Passage]:
        return {
            (source_id, passage.id): passage
            for source_id, of_source in _by_source(entries).items()
            for passage in self._answers[source_id].index.read(of_source)
        }


def _order(rankings: Sequence[Sequence[tuple[Key, Scored]]], passages: bool) -> tuple[list[Key], dict[Key, int]]:
    """Order the keys of the passages, best first, and count each document's further passages.

    Unless all ``passages`` are wanted, documents are ranked: each ranking counts its own best passage of a document,
    which need not be the same one.
    """
    order = fuse([[key for key, _ in ranking] for ranking in rankings])
    more: dict[Key, int] = {}
    if passages:
        return order, more
    documents_of = {key: (key[0], one.passage.doc_id) for ranking in rankings for key, one in ranking}
    best: dict[Key, Key] = {}
    for key in order:
        document = documents_of[key]
        best.setdefault(document, key)
        more[document] = more.get(document, -1) + 1
    documents = fuse([list(dict.fromkeys(documents_of[key] for key, _ in ranking)) for ranking in rankings])
    return [best[document] for document in documents], more


def _by_source(entries: Mapping[Key, PassageEntry]) -> dict[str, list[PassageEntry]]:
    found: dict[str, list[PassageEntry]] = {}
    for (source_id, _), entry in entries.items():
        found.setdefault(source_id, []).append(entry)
    return found
