"""What a pack takes from a ledger: one state of it, in an order that does not depend on the ledger's history.

A column stays out of packs by not being selected here; `tests/packs/test_privacy.py` names every column.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kbjobs.store.connection import explain
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import IndexedModel

PACKED_FACTS = ("site titles", "minimum text length")
"""The facts needed to read the source's files in the same way again; all other facts concern this ledger alone."""

# Rows are read document by document, without a sort, which would need a temporary file as large as all rows.
_CHUNKS = "FROM documents d CROSS JOIN chunks c ON c.doc_id = d.doc_id AND c.profile = :profile WHERE d.filtered = 0"
_ORDER = "ORDER BY d.doc_id, c.ordinal"
# Of passages with the same text, the first carries the vector. Vectors are ordered by document, so that a change to a
# document changes vectors in one place.
_FIRST = (
    "NOT EXISTS (SELECT 1 FROM chunks e WHERE e.profile = c.profile AND e.text_hash = c.text_hash"
    " AND (e.doc_id, e.ordinal) < (c.doc_id, c.ordinal)"
    " AND e.doc_id NOT IN (SELECT doc_id FROM documents WHERE filtered = 1))"
)


@dataclass(frozen=True, slots=True)
class PackCounts:
    """The numbers of documents, and of filtered ones among them; the approximate bytes of texts and vectors."""

    documents: int
    filtered: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A model whose vectors are packed, with the name of its profile."""

    row: IndexedModel
    profile: str


class PackedLedger:
    """A consistent view of a ledger, even while jobs write to it; use it as a context.

    Rows are dicts with the names of the columns as keys.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._execute = ledger.connection.execute

    def __enter__(self) -> Self:
        # A read transaction sees the state of its first read until it ends (sqlite.org/isolation.html).
        self._execute("BEGIN")
        self._execute("SELECT 1 FROM facts LIMIT 1").fetchone()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise explain(error, self._ledger.path) from error

    def models(self) -> list[PackedModel]:
        """The models that have vectors here and were not cleared on purpose, in order of key."""
        names = dict(self._execute("SELECT id, name FROM profiles").fetchall())
        rows = (row for row in self._ledger.models() if not row.is_cleared and self._ledger.count_vectors(row.id))
        return sorted((PackedModel(row, names[row.profile]) for row in rows), key=lambda model: model.row.key)

    def counts(self, models: list[PackedModel]) -> PackCounts:
        """Count what goes into a pack."""
        documents, filtered = self._execute("SELECT count(*), coalesce(sum(filtered), 0) FROM documents").fetchone()
        texts = sum(
            self._execute("SELECT sum(length(text)) FROM chunks WHERE profile = ?", (profile,)).fetchone()[0] or 0
            for profile in {model.row.profile for model in models}
        )
        vectors = sum(self._ledger.count_texts(one.row.profile) * one.row.dimension * 4 for one in models)
        return PackCounts(documents, filtered, texts + vectors)

    def languages(self) -> dict[str, int]:
        """The number of documents per language, most frequent first."""
        rows = self._execute(
            "SELECT coalesce(m.language, d.language) AS name, count(*) FROM documents d LEFT JOIN metadata m"
            " USING (doc_id) WHERE name IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 50"
        )
        return dict(rows.fetchall())

    def facts(self) -> dict[str, str]:
        """Those of :data:`PACKED_FACTS` that the ledger has."""
        found = {name: self._ledger.fact(name) for name in PACKED_FACTS}
        return {name: value for name, value in found.items() if value is not None}

    def documents(self) -> Iterator[dict[str, Any]]:
        """The documents, including filtered ones, in order of id."""
        return self._dicts(
            "SELECT doc_id, path, url, title, language, content_hash, word_count, pipeline, filtered FROM documents"
            " ORDER BY doc_id"
        )

    def metadata(self) -> Iterator[dict[str, Any]]:
        """The metadata of documents, in order of id; JSON lists are decoded."""
        rows = self._dicts(
            "SELECT doc_id, language, snippet, characters, heading_count, headings, description, published, authors,"
            " categories, doc_type FROM metadata ORDER BY doc_id"
        )
        for row in rows:
            yield {**row, **{name: json.loads(row[name]) for name in ("headings", "authors", "categories")}}

    def links(self) -> Iterator[dict[str, Any]]:
        """The links, in order of the documents' ids."""
        return self._dicts("SELECT doc_id, url, target FROM links ORDER BY doc_id, url")

    def passages(self, profile: int) -> Iterator[dict[str, Any]]:
        """The passages of a profile, without filtered documents, in order of the documents' ids."""
        return self._dicts(
            f"SELECT c.doc_id, c.ordinal, c.text, c.text_hash, c.tokens, c.page {_CHUNKS} {_ORDER}",
            {"profile": profile},
        )

    def vectors(self, model: IndexedModel) -> Iterator[tuple[str, bytes]]:
        """The hash and vector of each passage text, once, in the order of the passages."""
        rows = self._execute(
            "SELECT c.text_hash,"
            " (SELECT vector FROM vectors v WHERE v.model = :model AND v.text_hash = c.text_hash) AS vector"
            f" {_CHUNKS} AND {_FIRST} {_ORDER}",
            {"model": model.id, "profile": model.profile},
        )
        for text_hash, vector in rows:
            if vector is not None:
                yield text_hash, vector

    def _dicts(self, statement: str, values: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        for row in self._execute(statement, values or {}):
            yield dict(row)
