"""Filling a new ledger with the contents of a pack."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kbjobs.store.connection import explain, transaction
from kbjobs.store.ledger import Ledger, record_id
from kbjobs.store.ledger_rows import FROM_PACK
from kbjobs.store.pack_export import PACKED_FACTS

BATCH = 2_000  # rows in a transaction
_DOCUMENT = ("doc_id", "path", "url", "title", "language", "content_hash", "word_count", "pipeline", "filtered")
_METADATA = (
    "doc_id", "language", "snippet", "characters", "heading_count", "headings", "description", "published", "authors",
    "categories", "doc_type",
)  # fmt: skip


class MissingDocument(ValueError):
    """A row names a document that does not exist."""


@dataclass(slots=True)
class LedgerFiller:
    """Fills a ledger that nobody else uses. Rows are dicts with the names of the columns as keys."""

    ledger: Ledger
    _occurrences: Counter[str] = field(default_factory=Counter)
    _doc_id: str = ""
    _url: str = ""

    def put_facts(self, facts: dict[str, str]) -> None:
        """Write the facts about how the files were read; facts with other names are ignored."""
        for name in PACKED_FACTS:
            if name in facts:
                self.ledger.set_fact(name, facts[name])

    def put_documents(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write documents. Their files count as changed: the next run reads them and keeps equal content."""
        columns = ", ".join(_DOCUMENT)
        marks = ", ".join(f":{name}" for name in _DOCUMENT)
        self._write(f"INSERT INTO documents ({columns}, signature) VALUES ({marks}, '{FROM_PACK}')", rows)

    def put_metadata(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write metadata; lists are encoded as JSON."""
        columns = ", ".join(_METADATA)
        marks = ", ".join(f":{name}" for name in _METADATA)
        lists = ("headings", "authors", "categories")
        dumped = ({**row, **{name: json.dumps(row[name], ensure_ascii=False) for name in lists}} for row in rows)
        self._write(f"INSERT INTO metadata ({columns}, state, signature) VALUES ({marks}, '', '')", dumped)

    def put_links(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write links. A link without a URL gets the URL of its target; a link without both is left out."""
        target = "(SELECT doc_id FROM documents WHERE doc_id = :target)"
        self._write(
            "INSERT OR IGNORE INTO links (doc_id, url, target)"
            f" SELECT :doc_id, coalesce(:url, (SELECT url FROM documents WHERE doc_id = :target)), {target}"
            f" WHERE :url IS NOT NULL OR {target} IS NOT NULL",
            rows,
        )

    def put_passages(self, profile: str, rows: Iterable[dict[str, Any]]) -> int:
        """Write the passages of a profile, grouped by document and in order; returns the profile's id."""
        number = self.ledger.profile(profile)
        self._doc_id = ""
        self._write(
            "INSERT INTO chunks (doc_id, profile, ordinal, record_id, text_hash, tokens, text, page)"
            " VALUES (:doc_id, :profile, :ordinal, :record_id, :text_hash, :tokens, :text, :page)",
            ({**row, "profile": number, "record_id": self._name(row)} for row in rows),
        )
        with transaction(self.ledger.connection):
            self.ledger.connection.execute(
                "INSERT INTO chunked (doc_id, profile) SELECT DISTINCT doc_id, profile FROM chunks WHERE profile = ?",
                (number,),
            )
        return number

    def finish(self) -> None:
        """Move everything from the log into the file, so that its folder can be renamed."""
        self.ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _name(self, row: dict[str, Any]) -> str:
        if row["doc_id"] != self._doc_id:
            found = self.ledger.connection.execute(
                "SELECT url FROM documents WHERE doc_id = ?", (row["doc_id"],)
            ).fetchone()
            if found is None:
                raise MissingDocument(f"has a passage of {row['doc_id']}, which is not there")
            self._doc_id, self._url = row["doc_id"], str(found[0])
            self._occurrences.clear()
        url = f"{self._url}#page={row['page']}" if row["page"] else self._url
        name = record_id(row["doc_id"], url, row["text_hash"], self._occurrences[row["text_hash"]])
        self._occurrences[row["text_hash"]] += 1
        return name

    def _write(self, statement: str, rows: Iterable[dict[str, Any]]) -> None:
        batch: list[dict[str, Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == BATCH:
                self._commit(statement, batch)
                batch = []
        self._commit(statement, batch)

    def _commit(self, statement: str, batch: list[dict[str, Any]]) -> None:
        try:
            with transaction(self.ledger.connection):
                self.ledger.connection.executemany(statement, batch)
        except sqlite3.IntegrityError as error:
            raise MissingDocument("names a document that is not there") from error
        except sqlite3.Error as error:
            raise explain(error, self.ledger.path) from error


def open_new(path: Path) -> LedgerFiller:
    """Create a ledger at a path, to be filled."""
    return LedgerFiller(Ledger(path))
