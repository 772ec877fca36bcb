"""The published index of one source and model, open for searching."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbjobs.errors import UnavailableError
from kbjobs.store.passages import DESCRIBED, Filter, Passage, PassageEntry, PassageFile
from kbjobs.store.sources import SourceFolder
from kbjobs.store.word_frequencies import WordFrequencies
from kbjobs.vectors.collection_swap import WorkingCopy
from kbjobs.vectors.exact import MATRIX, PASSAGES
from kbjobs.vectors.wanted import WITHOUT_MATRIX

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    from kbjobs.vectors.collection import Collection

LANGUAGES = 8  # of a source, in whose stemmed forms a query's words are searched
FILTERED = 10  # times as many records are requested from Chroma if only some documents count
_CHROMA = threading.Lock()  # Chroma keeps its open collections in one place for the whole process
SWAPS = 5  # replacements of an index during one search that are tolerated


@dataclass(frozen=True, slots=True)
class Scored:
    """A passage with its score: a cosine, or BM25."""

    passage: PassageEntry
    score: float


Near = tuple[int | str | Passage, float]
"""A vector with its cosine to the query's. It is named by its row in the matrix; from Chroma by a record's id, or by
all that Chroma has of the passage if the index has no passages of its own."""
Numbered = tuple[int, float]
"""A passage's number in its file, with its BM25."""


class Index:
    """The index that a job published last. ``damage`` says why it cannot be searched exactly although it should be.

    ``is_gone``: the index no longer exists, because a job has cleared it since. For an index from an older version,
    which has no passages of its own, Chroma answers, by vectors only. Chroma also answers by vectors if an index is too
    large for a matrix.
    """

    def __init__(self, copies: WorkingCopy, open_collection: Callable[[], AbstractContextManager[Collection]]) -> None:
        self.is_gone = False
        self._copies = copies
        self._open_collection = open_collection
        self._file: PassageFile | None = None
        self._matrix: NDArray[float32] | None = None
        self._languages: tuple[str, ...] | None = None
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
            raise UnavailableError(
                f"the index {copies.live} was replaced repeatedly during the search", "Search once more."
            )

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
        """Whether no job has replaced it."""
        return self._inode is not None and self._inode == _inode(self._copies.readable())

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        self._file = self._matrix = None

    def languages(self) -> tuple[str, ...]:
        """The most frequent languages of its passages."""
        if self._languages is None:  # a published index does not change
            self._languages = () if self._file is None else self._file.languages(LANGUAGES)
        return self._languages

    def nearest(self, vector: NDArray[float32], count: int, which: Filter) -> Sequence[Near]:
        """Find the vectors nearest to a vector, by computing every cosine.

        Args:
            vector: float32 of unit length.
            count: how many to find.
            which: which documents count; each result has a passage of one.

        Returns:
            Vectors with their cosines, best first.

        Raises:
            CollectionError: only Chroma can answer, and it fails.
        """
        if self._file is None or self._matrix is None:
            return self._ask_chroma(vector, count, which)
        from kbjobs.vectors.matrix import nearest

        rows = self._file.vectors_of(which) if which else None
        return nearest(self._matrix, vector, count, rows)

    def passages_near(self, near: Sequence[Near], which: Filter) -> list[Scored]:
        """Find the passages of vectors that :meth:`nearest` returned, in their order."""
        names: list[Any] = [name for name, _ in near]
        entries: Mapping[Any, Sequence[PassageEntry]]
        if self._file is None:
            entries = {passage: [passage] for passage in names}
        elif self._matrix is None:
            entries = self._file.of_records(names, which)
        else:
            entries = self._file.of_vectors(names, which)
        return [Scored(entry, score) for name, (_, score) in zip(names, near, strict=True) for entry in entries[name]]

    def by_words(self, words: Sequence[str], count: int, which: Filter) -> list[Numbered]:
        """Find passages that contain any of the words.

        Args:
            words: stemmed words.
            count: how many passages to find; all with the same score as the last one are added.
            which: which documents count.

        Returns:
            Numbers of passages with their BM25, best first.
        """
        return [] if self._file is None else self._file.by_words(words, count, which)

    @property
    def frequencies(self) -> WordFrequencies | None:
        """How often words occur in it; None if it has no passages of its own."""
        return None if self._file is None else self._file.frequencies

    def cosines(self, rows: Sequence[int], vector: NDArray[float32]) -> list[float]:
        """The cosines of rows of the matrix to a vector; none if there is no matrix."""
        return [] if self._matrix is None else (self._matrix[list(rows)] @ vector).tolist()

    def passages_with(self, numbered: Sequence[Numbered]) -> list[Scored]:
        """Find the passages whose numbers :meth:`by_words` returned, best first."""
        return [] if self._file is None else _passages_with(self._file, numbered)

    def read(self, entries: Sequence[PassageEntry]) -> list[Passage]:
        """Read the passages with their texts, in any order."""
        known = [one for one in entries if isinstance(one, Passage)]
        return known if self._file is None else self._file.read([one.id for one in entries])

    def _ask_chroma(self, vector: NDArray[float32], count: int, which: Filter) -> Sequence[Near]:
        from kbjobs.vectors.collection import CollectionError

        path = self._copies.readable()
        wanted = count * FILTERED if which else count
        with _CHROMA:
            try:
                with self._open_collection() as collection:
                    hits = collection.query(vector, wanted)
            except CollectionError:
                if self.is_current and path == self._copies.readable():
                    raise
                with self._open_collection() as collection:  # a job has replaced the collection
                    hits = collection.query(vector, wanted)
        if self._file is not None:
            there = self._file.of_records([hit.id for hit in hits], which)
            return [(hit.id, hit.score) for hit in hits if hit.id in there][:count]
        return [
            (Passage(hit.id, hit.doc_id, None, "", "", None, hit.title, hit.url, hit.text), hit.score) for hit in hits
        ]


class WordIndex:
    """The words of a source whose documents are known but not yet indexed. Raises ValueError or sqlite3.Error."""

    damage = ""
    is_gone = False

    def __init__(self, source: SourceFolder) -> None:
        self._path = source.words
        self._inode = _inode(self._path)
        self._file = PassageFile(self._path)
        self._languages = self._file.languages(LANGUAGES)
        of = "titles, headings and beginnings" if self._file.state.startswith(DESCRIBED) else "passages"
        self.notice = f"{source.id} has no index yet: searched by the words of its {of}."

    @property
    def is_current(self) -> bool:
        """Whether no job has replaced it."""
        return self._inode == _inode(self._path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def languages(self) -> tuple[str, ...]:
        """The same as :meth:`Index.languages`."""
        return self._languages

    def by_words(self, words: Sequence[str], count: int, which: Filter) -> list[Numbered]:
        """Find passages that contain any of the words, like :meth:`Index.by_words`.

        Args:
            words: stemmed words.
            count: how many passages to find; all with the same score as the last one are added.
            which: which documents count.

        Returns:
            Numbers of passages with their BM25, best first.
        """
        return self._file.by_words(words, count, which)

    @property
    def frequencies(self) -> WordFrequencies:
        """How often words occur in it."""
        return self._file.frequencies

    def passages_with(self, numbered: Sequence[Numbered]) -> list[Scored]:
        """Do the same as :meth:`Index.passages_with`."""
        return _passages_with(self._file, numbered)

    def read(self, entries: Sequence[PassageEntry]) -> list[Passage]:
        """Do the same as :meth:`Index.read`."""
        return self._file.read([one.id for one in entries])


def _passages_with(file: PassageFile, numbered: Sequence[Numbered]) -> list[Scored]:
    entries = file.of_numbers([number for number, _ in numbered])
    found = [Scored(entry, score) for number, score in numbered for entry in entries[number]]
    return sorted(found, key=lambda one: (-one.score, one.passage.doc_id, one.passage.id))


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
