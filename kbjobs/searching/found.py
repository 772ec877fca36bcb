"""What the sources have found, made one list of hits."""

from __future__ import annotations

from collections.abc import Iterable

from kbjobs.content.words import find_matches
from kbjobs.searching.fusion import fuse
from kbjobs.searching.hits import Hit, Mode
from kbjobs.searching.index import Scored
from kbjobs.store.passages import Passage

Key = tuple[str, str]  # a source, and a passage or a document of it


class Found:
    """Gathers passages of all sources. ``forms`` are the forms of the query's words by source.

    Args:
        depth: how many passages of each ranking count.
    """

    def __init__(self, depth: int) -> None:
        self.forms: dict[str, list[tuple[str, ...]]] = {}
        self._depth = depth
        self._by_vectors: list[tuple[Key, Scored]] = []
        self._by_words: list[tuple[Key, Scored]] = []

    def add_vectors(self, source_id: str, found: Iterable[Scored]) -> None:
        """What a source has found by vectors."""
        self._by_vectors += [((source_id, one.passage.id), one) for one in found]

    def add_words(self, source_id: str, found: Iterable[Scored]) -> None:
        """What a source has found by words."""
        self._by_words += [((source_id, one.passage.id), one) for one in found]

    def hits(self, count: int, model: str | None, mode: Mode, passages: bool) -> list[Hit]:
        """The best ``count``: one a document, its best passage, or with ``passages`` all of them.

        Documents are ranked by the best passage that each ranking has of them: it need not be the same one.

        Args:
            model: what has embedded the query, None where nothing has.
            mode: how it was to be looked for.
        """
        rankings = [
            sorted(ranking, key=lambda pair: -pair[1].score)[: self._depth]
            for ranking in (self._by_vectors, self._by_words)
        ]
        used: Mode = "hybrid" if all(rankings) else "vectors" if model is not None and mode != "words" else "words"
        cosines = {key: one.score for key, one in self._by_vectors}
        found = {key: one.passage for ranking in reversed(rankings) for key, one in ranking}
        order = fuse([[key for key, _ in ranking] for ranking in rankings])
        more: dict[Key, int] = {}
        if not passages:
            best: dict[Key, Key] = {}
            for key in order:
                document = (key[0], found[key].doc_id)
                best.setdefault(document, key)
                more[document] = more.get(document, -1) + 1
            documents = fuse(
                [list(dict.fromkeys((key[0], found[key].doc_id) for key, _ in ranking)) for ranking in rankings]
            )
            order = [best[document] for document in documents]
        return [
            self._hit(rank, key, found[key], cosines.get(key), model, used, more)
            for rank, key in enumerate(order[:count], start=1)
        ]

    def _hit(
        self,
        rank: int,
        key: Key,
        passage: Passage,
        cosine: float | None,
        model: str | None,
        used: Mode,
        more: dict[Key, int],
    ) -> Hit:
        source_id = key[0]
        return Hit(
            rank,
            None if cosine is None else round(cosine, 4),
            source_id,
            passage.doc_id,
            passage.title,
            passage.url,
            passage.text,
            model,
            used,
            tuple(find_matches(passage.text, passage.language, self.forms[source_id])),
            more.get((source_id, passage.doc_id), 0),
        )
