"""What a published index says of each passage: a file of its own beside the vectors, written once, then only read.

A search reads it and not the ledger, which a job may be changing: so its answers are those of the last verified state.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from kbjobs.store.connection import explain, transaction

FORMAT = 1
PAGE = 500  # rows asked for at a time; well below SQLite's limit of 32,766 variables


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage as a search result names it; ``row`` is that of its vector, which equal texts share."""

    row: int
    id: str
    doc_id: str
    title: str
    url: str
    text: str


def write_passages(path: Path, passages: Iterable[Passage], state: str) -> int:
    """Write the file whole or not at all; returns how many passages it holds. ``state`` names what it was made of."""
    unfinished = path.with_suffix(".part")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            # Nobody reads it before it is renamed, and a torn one is made anew.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            with transaction(connection):
                connection.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
                connection.execute(
                    "CREATE TABLE passages (vector INTEGER NOT NULL, id TEXT NOT NULL, doc_id TEXT NOT NULL,"
                    " title TEXT NOT NULL, url TEXT NOT NULL, text TEXT NOT NULL)"
                )
                connection.executemany(
                    "INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?)",
                    ((one.row, one.id, one.doc_id, one.title, one.url, one.text) for one in passages),
                )
                connection.execute("CREATE INDEX passages_by_vector ON passages(vector, doc_id, id)")
                connection.execute("INSERT INTO facts VALUES ('state', ?)", (state,))
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            count = int(connection.execute("SELECT count(*) FROM passages").fetchone()[0])
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    except sqlite3.Error as error:
        unfinished.unlink(missing_ok=True)
        raise explain(error, path) from error
    return count


class PassageFile:
    """An open file of passages, read only. Raises sqlite3.Error where it is damaged, ValueError where it is newer."""

    def __init__(self, path: Path) -> None:
        # Immutable: a published file is never changed, and its folder may be on a read-only disk.
        self._connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
        try:
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version != FORMAT:
                raise ValueError(f"{path} has format {version}")
            self.state = str(self._connection.execute("SELECT value FROM facts WHERE name = 'state'").fetchone()[0])
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ids(self) -> set[str]:
        """The ids of all passages."""
        return {row[0] for row in self._connection.execute("SELECT id FROM passages")}

    def of_vectors(self, rows: Sequence[int]) -> list[Passage]:
        """The passages that carry any of the vectors."""
        found: list[Passage] = []
        for start in range(0, len(rows), PAGE):
            page = rows[start : start + PAGE]
            marks = ",".join("?" * len(page))
            found += [
                Passage(*row)
                for row in self._connection.execute(
                    f"SELECT vector, id, doc_id, title, url, text FROM passages WHERE vector IN ({marks})"
                    " ORDER BY vector, doc_id, id",
                    list(page),
                )
            ]
        return found
