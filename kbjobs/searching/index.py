"""The published index of one source and model, open for searching."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kbjobs.errors import UnavailableError
from kbjobs.store.passages import DESCRIBED, Filter, Passage, PassageFile
from kbjobs.store.sources import SourceFolder
from kbjobs.vectors.exact import MATRIX, PASSAGES, WITHOUT_MATRIX
from kbjobs.vectors.publishing import WorkingCopy

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

LANGUAGES = 8  # of a source, in whose stemmed forms a query's words are looked up
FILTERED = 10  # times as many records are asked of Chroma where only some documents count
SWAPS = 5  # of an index under a search that are put up with


@dataclass(frozen=True, slots=True)
class Scored:
    """A passage and how well it fits: a cosine, or BM25."""

    passage: Passage
    score: float


class Index:
    """What a job has published last. ``damage`` says why it cannot be searched exactly, where it is to be.

    ``is_gone`` where there is none any more: a job has cleared it since it was seen.
    An index that an older version has published has no passages of its own: Chroma answers, for vectors alone. So it
    does for one that is too large for a matrix.
    """

    def __init__(self, copies: WorkingCopy) -> None:
        self.is_gone = False
        self._copies = copies
        self._file: PassageFile | None = None
        self._matrix: NDArray[float32] | None = None
        self._languages: list[str] | None = None
        for _ in range(SWAPS):
            self.path = copies.readable()
            self._inode = _inode(self.path)
            self.damage = ""
            self._open()
            if self._inode is not None and self._inode == _inode(self.path):
                return
            self.close()
        self.is_gone = not copies.is_there()
        if not self.is_gone:
            raise UnavailableError(f"{copies.live} was replaced under the search, time and again", "Search once more.")

    def _open(self) -> None:
        from kbjobs.vectors.matrix import open_matrix

        if not ((self.path / PASSAGES).exists() or (self.path / MATRIX).exists()):
            return
        try:
            self._file = PassageFile(self.path / PASSAGES)
            if not self._file.state.endswith(WITHOUT_MATRIX):
                self._matrix = open_matrix(self.path / MATRIX, self._file.state)
        except (OSError, sqlite3.Error, ValueError, TypeError) as error:
            self.damage = str(error)
            self.close()

    @property
    def is_current(self) -> bool:
        """Whether no job has put another one in its place."""
        return self._inode is not None and self._inode == _inode(self._copies.readable())

    def close(self) -> None:
        """Let go of the files."""
        if self._file is not None:
            self._file.close()
        self._file = self._matrix = None

    def languages(self) -> list[str]:
        """The languages of most of its passages."""
        if self._languages is None:  # what is published does not change
            self._languages = [] if self._file is None else self._file.languages(LANGUAGES)
        return self._languages

    def nearest(self, vector: NDArray[float32], count: int, which: Filter) -> list[Scored]:
        """The passages nearest to a vector of unit length, best first; every cosine is computed.

        Raises CollectionError where only Chroma could answer, and cannot.
        """
        if self._file is None or self._matrix is None:
            return self._ask_chroma(vector, count, which)
        from kbjobs.vectors.matrix import nearest

        rows = self._file.vectors_of(which) if which else None
        best = nearest(self._matrix, vector, count, rows)
        place = {row: number for number, (row, _) in enumerate(best)}
        scores = dict(best)
        passages = self._file.of_vectors(list(place), which)
        passages.sort(key=lambda one: (place[one.vector or 0], one.doc_id, one.id))
        return [Scored(one, scores[one.vector or 0]) for one in passages[:count]]

    def by_words(self, words: list[str], count: int, which: Filter) -> list[Scored]:
        """The passages with any of the folded words, best first."""
        if self._file is None:
            return []
        return [Scored(passage, score) for passage, score in self._file.of_words(words, count, which)]

    def _ask_chroma(self, vector: NDArray[float32], count: int, which: Filter) -> list[Scored]:
        from kbjobs.vectors.collection import Collection, CollectionError

        path = self._copies.readable()
        wanted = count * FILTERED if which else count
        try:
            with Collection(path) as collection:
                hits = collection.query(vector, wanted)
        except CollectionError:
            if self.is_current and path == self._copies.readable():
                raise
            with Collection(self._copies.readable()) as collection:  # a job has put another one in its place
                hits = collection.query(vector, wanted)
        if self._file is None:
            return [
                Scored(Passage(hit.id, None, "", hit.doc_id, "", None, hit.title, hit.url, hit.text), hit.score)
                for hit in hits
            ]
        passages = self._file.of_records([hit.id for hit in hits], which)
        return [Scored(one, hit.score) for hit in hits for one in passages.get(hit.id, ())][:count]


class WordIndex:
    """The words of a source that has no index yet, but whose documents are known. Raises ValueError, sqlite3.Error."""

    damage = ""
    is_gone = False

    def __init__(self, source: SourceFolder) -> None:
        self._path = source.words
        self._inode = _inode(self._path)
        self._file = PassageFile(self._path)
        of = "titles, headings and beginnings" if self._file.state.startswith(DESCRIBED) else "passages"
        self.notice = f"{source.id} has no index yet: searched by the words of its {of}."

    @property
    def is_current(self) -> bool:
        """Whether no job has put another one in its place."""
        return self._inode == _inode(self._path)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def languages(self) -> list[str]:
        """As :meth:`Index.languages`."""
        return self._file.languages(LANGUAGES)

    def by_words(self, words: list[str], count: int, which: Filter) -> list[Scored]:
        """As :meth:`Index.by_words`."""
        return [Scored(passage, score) for passage, score in self._file.of_words(words, count, which)]


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
