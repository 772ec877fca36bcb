"""Merge the answers of the sources into one list of hits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, TypeVar

from kbjobs.content.search_words import find_matches
from kbjobs.retrieval.fusion import Weights, WordStatistics, agreement_of, fuse, weigh
from kbjobs.retrieval.hits import Hit, Mode, Query
from kbjobs.retrieval.open_index import Index, Near, Numbered, Scored, WordIndex
from kbjobs.retrieval.query_words import Forms
from kbjobs.store.passages import Filter, Passage, PassageEntry

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

Key = tuple[str, str]  # a source, and a passage or a document of it
Ranking = Sequence[tuple[Key, Scored]]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """A source's answer: vectors, and numbers of passages with their BM25. No passage has been read yet.

    ``which`` are the passages that were searched; ``statistics`` are those of the query's words in the source.
    """

    index: Index | WordIndex
    forms: Forms
    near: Sequence[Near]
    numbered: Sequence[Numbered]
    which: Filter
    statistics: WordStatistics

    def passages_near(self, near: Sequence[Near]) -> list[Scored]:
        """Do the same as :meth:`Index.passages_near`."""
        return self.index.passages_near(near, self.which) if isinstance(self.index, Index) else []

    def cosines(self, entries: Sequence[PassageEntry], vector: NDArray[float32]) -> dict[str, float]:
        """The cosines of passages by their ids; only those of the model that embedded the query."""
        if not self.near or not isinstance(self.index, Index):
            return {}
        rows = {one.id: one.vector for one in entries if one.vector is not None}
        return dict(zip(rows, self.index.cosines(list(rows.values()), vector), strict=False))


class Found:
    """Collects the answers of all sources; passages are read only once it is clear which ones count.

    Args:
        depth: how many passages of each ranking count.
        vector: of the query; None if it was not embedded.
    """

    def __init__(self, depth: int, vector: NDArray[float32] | None) -> None:
        self._depth, self._vector = depth, vector
        self._answers: dict[str, SourceAnswer] = {}

    def add(self, source_id: str, answer: SourceAnswer) -> None:
        """Add the answer of a source."""
        self._answers[source_id] = answer

    def __bool__(self) -> bool:
        return any(answer.near or answer.numbered for answer in self._answers.values())

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
        order, more = self._order(rankings, query.passages)
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
        return self._rank({name: self._answers[name].passages_near(near) for name, near in best.items()})

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
                near = answer.passages_near(answer.near)[: self._depth]
                found |= {(source_id, one.passage.id): one.score for one in near}
        return found

    def _read(self, entries: Mapping[Key, PassageEntry]) -> dict[Key, Passage]:
        return {
            (source_id, passage.id): passage
            for source_id, of_source in _by_source(entries).items()
            for passage in self._answers[source_id].index.read(of_source)
        }

    def _order(self, rankings: Sequence[Ranking], passages: bool) -> tuple[list[Key], dict[Key, int]]:
        """Order the keys of the passages, best first, and count each document's further passages.

        Unless all ``passages`` are wanted, documents are ranked: each ranking counts its own best passage of a
        document, which need not be the same one.
        """
        documents_of = {key: (key[0], one.passage.doc_id) for ranking in rankings for key, one in ranking}
        documents = [list(dict.fromkeys(documents_of[key] for key, _ in ranking)) for ranking in rankings]
        chosen = self._weigh(agreement_of(documents))
        weights, cosines = (chosen.vectors, chosen.words), self._all_cosines(rankings)
        order = fuse([[key for key, _ in ranking] for ranking in rankings], weights, cosines)
        more: dict[Key, int] = {}
        if passages:
            return order, more
        best: dict[Key, Key] = {}
        of_documents: dict[Key, float] = {}
        for key in order:
            document = documents_of[key]
            best.setdefault(document, key)
            more[document] = more.get(document, -1) + 1
            of_documents[document] = max(cosines.get(key, 0.0), of_documents.get(document, 0.0))
        return [best[document] for document in fuse(documents, weights, of_documents)], more

    def _weigh(self, agreement: float) -> Weights:
        """Choose the weights of both rankings by the source that knows most of the query's words."""
        all_statistics = [answer.statistics for answer in self._answers.values()]
        return weigh(max(all_statistics, key=lambda one: (one.known, one.rarity), default=WordStatistics()), agreement)

    def _all_cosines(self, rankings: Sequence[Ranking]) -> dict[Key, float]:
        """The cosines of all ranked passages; the least of them for one whose source has no vectors of the model."""
        found = {key: one.score for key, one in rankings[0]}
        if self._vector is None or not found:
            return {}
        least = min(found.values())
        words_alone = {key: one.passage for key, one in rankings[1] if key not in found}
        for source_id, entries in _by_source(words_alone).items():
            known = self._answers[source_id].cosines(entries, self._vector)
            found |= {(source_id, one.id): known.get(one.id, least) for one in entries}
        return found


def _by_source(entries: Mapping[Key, PassageEntry]) -> dict[str, list[PassageEntry]]:
    found: dict[str, list[PassageEntry]] = {}
    for (source_id, _), entry in entries.items():
        found.setdefault(source_id, []).append(entry)
    return found
