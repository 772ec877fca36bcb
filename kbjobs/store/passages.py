"""The passages of a published index and the words that find them: a file next to the vectors.

A search reads this file and not the ledger, which a job may be changing; so it answers from the last verified state.
The file is changed only in a working copy, which nobody searches.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

from kbjobs.store.connection import explain, find_cut, transaction
from kbjobs.store.word_frequencies import WordFrequencies
from kbjobs.system.closing import Closable

FORMAT = 1
PAGE = 500  # rows read at a time; well below SQLite's limit of 32,766 variables
DESCRIBED = "described "
"""The prefix of the state of a file that, lacking passages, holds documents' titles, headings and snippets."""
TITLE_WEIGHT = 2.0  # a word in the title counts double

Name = TypeVar("Name", int, str)

Fold = Callable[[str, str | None], str]
"""Turns a text and its language into its search words, separated by spaces."""

_SCHEMA = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE passages (id INTEGER PRIMARY KEY, record TEXT NOT NULL UNIQUE, vector INTEGER,"
    " text_hash TEXT NOT NULL, doc_id TEXT NOT NULL, path TEXT NOT NULL, language TEXT, title TEXT NOT NULL,"
    " url TEXT NOT NULL, text TEXT NOT NULL)",
    "CREATE INDEX passages_by_vector ON passages(vector)",
    "CREATE INDEX passages_by_text ON passages(text_hash)",
    # The words are already folded: the tokenizer must keep their marks and remove nothing.
    "CREATE VIRTUAL TABLE words USING fts5(title, text, content='',"
    " tokenize=\"unicode61 remove_diacritics 0 categories 'L* M* N* Co'\")",
)
_COLUMNS = "p.record, p.doc_id, p.vector, p.text_hash, p.path, p.language, p.title, p.url, p.text"
_GIVEN = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class PassageEntry:
    """A passage without its text, which is read only for passages that are shown.

    ``vector`` is the row of its vector, which equal texts share, None if it has none.
    """

    id: str
    doc_id: str
    vector: int | None


@dataclass(frozen=True, slots=True)
class Passage(PassageEntry):
    """A passage as a search result shows it.

    ``path`` is its document's path, relative to the source's roots; ``text`` begins with the document's title.
    """

    text_hash: str
    path: str
    language: str | None
    title: str
    url: str
    text: str

    @property
    def body(self) -> str:
        """The text without the title."""
        return self.text.removeprefix(self.title).lstrip("\n")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which passages to search; None for all.

    Args:
        language: the language of their documents; en includes en-gb.
        path: how the paths of their documents begin.
        documents: the ids of their documents.
        match: an FTS5 expression that their folded words match (sqlite.org/fts5.html, 3).
    """

    language: str | None = None
    path: str | None = None
    documents: tuple[str, ...] | None = None
    match: str | None = None

    def __bool__(self) -> bool:
        return self != Filter()

    def conditions(self) -> tuple[str, list[str]]:
        """SQL to append to a WHERE clause, and its values."""
        sql, values = "", list[str]()
        if self.language is not None:
            sql += " AND (p.language = ? OR p.language LIKE ? || '-%')"
            values += [self.language, self.language]
        if self.path is not None:
            sql += " AND substr(p.path, 1, length(?)) = ?"
            values += [self.path, self.path]
        if self.documents is not None:
            sql += f" AND p.doc_id {_GIVEN}"
            values.append(json.dumps(self.documents))
        if self.match is not None:
            sql += " AND p.id IN (SELECT rowid FROM words WHERE words MATCH ?)"
            values.append(self.match)
        return sql, values


class PassageWriter:
    """Makes the file of a working copy equal to the ledger. An unusable file is replaced by an empty one."""

    def __init__(self, path: Path, fold: Fold) -> None:
        self._fold = fold
        if not path.exists() or not _is_usable(path):
            for leftover in (path, path.with_name(path.name + "-journal")):
                leftover.unlink(missing_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(path, isolation_level=None)
            with transaction(self._connection):
                for statement in _SCHEMA:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {FORMAT}")
        else:
            self._connection = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def make_equal(
        self, wanted: Mapping[str, str | None], read: Callable[[Sequence[str]], Iterator[list[Passage]]], state: str
    ) -> None:
        """Bring the file to exactly the wanted passages, in one transaction.

        Args:
            wanted: the language of each passage by its id; None if it is not known.
            read: returns the passages with the given ids, in pages.
            state: the name of the file's new state.
        """
        present = dict(self._connection.execute("SELECT record, language FROM passages").fetchall())
        gone = [name for name, language in present.items() if name not in wanted or wanted[name] != language]
        new = [name for name, language in wanted.items() if name not in present or present[name] != language]
        with transaction(self._connection):
            for start in range(0, len(gone), PAGE):
                self._remove(gone[start : start + PAGE])
            for passages in read(new):
                self._add(passages)
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES ('state', ?)", (state,))

    def set_vectors(self, rows: Mapping[str, int]) -> None:
        """Record the row of each text's vector, given by the text's hash; texts without one have none."""
        present = self._connection.execute("SELECT DISTINCT text_hash, vector FROM passages").fetchall()
        changed = {text_hash for text_hash, vector in present if rows.get(text_hash) != vector}
        with transaction(self._connection):
            self._connection.executemany(
                "UPDATE passages SET vector = ? WHERE text_hash = ?", ((rows.get(name), name) for name in changed)
            )

    def texts(self) -> list[str]:
        """The hash of each text, once."""
        rows = self._connection.execute("SELECT text_hash FROM passages GROUP BY text_hash ORDER BY min(id)")
        return [row[0] for row in rows]

    def _words_of(self, passage: Passage) -> tuple[str, str]:
        return self._fold(passage.title, passage.language), self._fold(passage.body, passage.language)

    def _add(self, passages: Sequence[Passage]) -> None:
        for one in passages:
            row = self._connection.execute(
                "INSERT INTO passages (record, doc_id, text_hash, path, language, title, url, text)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (one.id, one.doc_id, one.text_hash, one.path, one.language, one.title, one.url, one.text),
            ).fetchone()[0]
            self._connection.execute(
                "INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)", (row, *self._words_of(one))
            )

    def _remove(self, names: Sequence[str]) -> None:
        marks = ",".join("?" * len(names))
        rows = self._connection.execute(
            f"SELECT p.id, {_COLUMNS} FROM passages p WHERE p.record IN ({marks})", list(names)
        ).fetchall()
        for row, *columns in rows:
            # A table that stores no text needs the old text again to delete it (sqlite.org/fts5.html, 6.3).
            self._connection.execute(
                "INSERT INTO words (words, rowid, title, text) VALUES ('delete', ?, ?, ?)",
                (row, *self._words_of(Passage(*columns))),
            )
        self._connection.execute(f"DELETE FROM passages WHERE record IN ({marks})", list(names))


class PassageFile(Closable):
    """A published file, opened read-only. Raises sqlite3.Error if damaged, ValueError if cut or of another format."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(f"there is no {path.name}")
        if cut := find_cut(path):
            raise ValueError(cut)
        # Immutable: a published file is never changed, and its folder may be on a read-only disk.
        self._connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        try:
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version != FORMAT:
                raise ValueError(f"{path.name} has format {version}")
            self.state = str(self._connection.execute("SELECT value FROM facts WHERE name = 'state'").fetchone()[0])
            self._connection.execute("PRAGMA temp_store = MEMORY")
            self.frequencies = WordFrequencies(self._connection)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def languages(self, max_count: int) -> tuple[str, ...]:
        """The most frequent languages of passages, at most ``max_count``."""
        rows = self._connection.execute(
            "SELECT language FROM passages WHERE language IS NOT NULL GROUP BY language ORDER BY count(*) DESC LIMIT ?",
            (max_count,),
        )
        return tuple(row[0] for row in rows)

    def texts(self) -> list[str]:
        """The hashes of the texts that have a vector, in the order of its rows."""
        rows = self._connection.execute(
            "SELECT vector, text_hash FROM passages WHERE vector IS NOT NULL GROUP BY vector ORDER BY vector"
        ).fetchall()
        if [row[0] for row in rows] != list(range(len(rows))):
            raise ValueError("the rows of the vectors are not whole")
        return [row[1] for row in rows]

    def records(self) -> set[str]:
        """The ids of all passages' records."""
        return {row[0] for row in self._connection.execute("SELECT record FROM passages")}

    def of_records(self, records: Sequence[str], which: Filter) -> dict[str, list[PassageEntry]]:
        """For each record, the passages with the same text that match the filter."""
        sql, values = which.conditions()
        return self._entries(
            "r.record, p.record, p.doc_id, p.vector FROM passages r JOIN passages p ON p.text_hash = r.text_hash"
            f" WHERE r.record {_GIVEN}{sql}",
            records,
            values,
        )

    def vectors_of(self, which: Filter) -> list[int]:
        """The vector rows of passages that match the filter, in order."""
        sql, values = which.conditions()
        rows = self._connection.execute(
            f"SELECT DISTINCT p.vector FROM passages p WHERE p.vector IS NOT NULL{sql} ORDER BY 1", values
        )
        return [row[0] for row in rows]

    def of_vectors(self, rows: Sequence[int], which: Filter) -> dict[int, list[PassageEntry]]:
        """For each vector row, the passages with this vector that match the filter."""
        sql, values = which.conditions()
        return self._entries(
            f"p.vector, p.record, p.doc_id, p.vector FROM passages p WHERE p.vector {_GIVEN}{sql}", rows, values
        )

    def by_words(self, words: Sequence[str], count: int, which: Filter) -> list[tuple[int, float]]:
        """Find the passages that contain any of the words.

        Args:
            words: the words.
            count: the number of passages; passages with the same score as the last are added, for the caller to choose.
            which: the passages to search.

        Returns:
            The number of each passage and its BM25 (greater is better), best first.
        """
        if not words:
            return []
        sql, values = which.conditions()
        joined = " JOIN passages p ON p.id = words.rowid" if which else ""
        statement = (
            f"SELECT words.rowid, bm25(words, {TITLE_WEIGHT}, 1.0) AS score FROM words{joined}"
            f" WHERE words MATCH ?{sql} ORDER BY score LIMIT ?"
        )

        def find(some: Sequence[str], max_rows: int) -> list[tuple[int, float]]:
            given = [" OR ".join(f'"{word}"' for word in some), *values, max_rows]
            return self._connection.execute(statement, given).fetchall() if some else []

        chosen = self._choose_words(words)
        rows = find(chosen, count + 1)
        if len(rows) <= count and len(chosen) < len(words):
            chosen = words
            rows = find(chosen, count + 1)
        if len(rows) > count:
            last = rows[count - 1][1]
            if rows[count][1] == last:
                rows = find(chosen, -1)
            rows = [row for row in rows if row[1] <= last]
        return [(number, -score) for number, score in rows]

    def _choose_words(self, words: Sequence[str]) -> Sequence[str]:
        """The words that occur, and in at most half of the passages.

        FTS5's BM25 gives more frequent words a weight of a millionth (sqlite.org/fts5.html, 5.1.1): they do not affect
        the order, and their many passages take most of the time.
        """
        of, count = self.frequencies.frequency, self.frequencies.count
        return [word for word in words if 0 < 2 * of(word) <= count]

    def of_numbers(self, numbers: Sequence[int]) -> dict[int, list[PassageEntry]]:
        """The passage with each of the numbers."""
        return self._entries(f"p.id, p.record, p.doc_id, p.vector FROM passages p WHERE p.id {_GIVEN}", numbers, [])

    def read(self, records: Sequence[str]) -> list[Passage]:
        """The passages of the records with their texts, in any order."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM passages p WHERE p.record {_GIVEN}", [json.dumps(records)]
        )
        return [Passage(*row) for row in rows]

    def _entries(self, sql: str, given: Sequence[Name], values: Sequence[str]) -> dict[Name, list[PassageEntry]]:
        """Entries by the given values; entries of one value are in the order of their documents."""
        found: dict[Name, list[PassageEntry]] = {}
        for name, *entry in self._connection.execute(f"SELECT {sql}", [json.dumps(given), *values]):
            found.setdefault(name, []).append(PassageEntry(*entry))
        for entries in found.values():
            if len(entries) > 1:
                entries.sort(key=lambda one: (one.doc_id, one.id))
        return found


def compact_file(path: Path) -> None:
    """Replace a file that no longer changes by a copy without unused pages.

    Readers of the previous file are not disturbed.
    """
    building = path.with_name(path.name + ".building")
    building.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as connection:
            if not connection.execute("PRAGMA freelist_count").fetchone()[0]:
                return
            os.close(os.open(building, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
            connection.execute("VACUUM INTO ?", (str(building),))
    except (OSError, sqlite3.Error) as error:
        building.unlink(missing_ok=True)
        raise explain(error, path) from error
    building.replace(path)


def _is_usable(path: Path) -> bool:
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            return bool(version == FORMAT and connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        finally:
            connection.close()
    except sqlite3.Error:
        return False
