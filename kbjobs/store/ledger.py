"""The ledger of one source: documents, links, chunks and vectors. It is the truth; a vector store is its copy.

A vector is keyed by model (with the hash of its weights) and by the hash of the text, so that the same passage
is never embedded twice across documents, runs and rebuilds.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from kbjobs.store.connection import connect, transaction
from kbjobs.store.database import Database
from kbjobs.store.ledger_rows import (
    ChunkLike,
    DocumentLike,
    IndexedModel,
    KnownDocument,
    MissingText,
    Record,
    StoredChunk,
)

LEDGER_VERSION = 6
PAGE = 500  # rows read at a time; well below SQLite's limit of 32,766 variables
URL = "CASE WHEN c.page > 0 THEN d.url || '#page=' || c.page ELSE d.url END"  # a passage's URL; RFC 8118 for PDFs
# A condition on chunks c: documents that a language filter has marked are neither embedded nor in a collection. SQLite
# builds the list once per statement, from an index that holds only the marked documents.
KEPT = "c.doc_id NOT IN (SELECT doc_id FROM documents WHERE filtered = 1)"


def record_id(doc_id: str, url: str, text_hash: str, occurrence: int) -> str:
    """Derive a record's id from all it holds: a changed record gets a new id and is never updated.

    Args:
        doc_id: the document.
        url: the document's address.
        text_hash: the hash of the passage's text, which includes the title.
        occurrence: tells equal texts of a document apart. Unlike an ordinal, it is not changed by an edit further up.
    """
    return hashlib.sha256(f"{doc_id}\0{url}\0{text_hash}\0{occurrence}".encode()).hexdigest()[:32]


def _migrate(connection: sqlite3.Connection) -> None:
    from kbjobs.store import migrations

    path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
    migrations.apply_migrations(connection, path, migrations.LEDGER)


class Ledger(Database):
    """One ``source.db``. Writers hold the source's lock."""

    def __init__(self, path: Path, connection: sqlite3.Connection | None = None) -> None:
        """``connection``: an open connection to a file of this format, if there is one."""
        super().__init__(path, connection or connect(path, LEDGER_VERSION, _migrate))

    def profile(self, name: str) -> int:
        """The id of a chunking profile (tokenizer and window)."""
        with transaction(self.connection):
            self.connection.execute("INSERT OR IGNORE INTO profiles (name) VALUES (?)", (name,))
        return int(self.connection.execute("SELECT id FROM profiles WHERE name = ?", (name,)).fetchone()[0])

    def find_profile(self, name: str) -> int | None:
        """The id of a chunking profile, None if the ledger does not know it."""
        row = self.connection.execute("SELECT id FROM profiles WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def model(self, key: str, name: str, dimension: int, profile: int) -> int:
        """The id of a model; adds the model if the ledger does not know it.

        Args:
            key: the model's key, which contains the hash of its weights.
            name: its name.
            dimension: the dimension of its vectors.
            profile: the profile of a new model; :func:`kbjobs.store.profiles.adopt` changes a known model's.
        """
        with transaction(self.connection):
            self.connection.execute(
                "INSERT INTO models (key, name, dimension, profile) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET cleared = 0",
                (key, name, dimension, profile),
            )
        return int(self.connection.execute("SELECT id FROM models WHERE key = ?", (key,)).fetchone()[0])

    def models(self, dimension: int | None = None) -> list[IndexedModel]:
        """The models that this source was indexed with, all or those of a dimension, in order of first use."""
        rows = self.connection.execute(
            "SELECT id, key, name, dimension, profile, cleared FROM models"
            " WHERE dimension = :dimension OR :dimension IS NULL ORDER BY id",
            {"dimension": dimension},
        )
        return [IndexedModel(*row) for row in rows]

    def known_documents(self, profile: int) -> dict[str, KnownDocument]:
        """What is known of each document, by id."""
        rows = self.connection.execute(
            "SELECT d.doc_id, path, content_hash, pipeline, signature, c.doc_id IS NOT NULL AS chunked"
            " FROM documents d LEFT JOIN chunked c ON c.doc_id = d.doc_id AND c.profile = ?",
            (profile,),
        )
        return {row[0]: KnownDocument(row[1], row[2], row[3], row[4], bool(row[5])) for row in rows}

    def put_documents(
        self,
        profile: int,
        pipeline: str,
        batch: Iterable[tuple[DocumentLike, str, Sequence[ChunkLike]]],
        paid: Collection[int] = (),
    ) -> None:
        """Write documents with their signatures and chunks, in one transaction.

        A document whose content changed loses its chunks of all profiles, since they were cut from another text.

        Args:
            profile: the profile that the chunks were cut for.
            pipeline: the name and version of the code that read the documents.
            batch: each document with the signature of its file, and its chunks.
            paid: the profiles with paid vectors: they keep their chunks if only a newer version of the reader changed
                the text.
        """
        with transaction(self.connection):
            for document, signature, chunks in batch:
                self._put_document(profile, pipeline, document, signature, chunks, paid)

    def _put_document(
        self,
        profile: int,
        pipeline: str,
        document: DocumentLike,
        signature: str,
        chunks: Sequence[ChunkLike],
        paid: Collection[int],
    ) -> None:
        execute = self.connection.execute
        for stale in self.write_document(pipeline, document, signature, paid):
            execute("DELETE FROM chunks WHERE doc_id = ? AND profile = ?", (document.doc_id, stale))
        which = (document.doc_id, profile)
        execute("DELETE FROM chunks WHERE doc_id = ? AND profile = ?", which)
        seen = Counter[str]()
        rows = []
        for chunk in chunks:
            url = f"{document.url}#page={chunk.page}" if chunk.page else document.url
            name = record_id(document.doc_id, url, chunk.text_hash, seen[chunk.text_hash])
            seen[chunk.text_hash] += 1
            rows.append((*which, chunk.ordinal, name, chunk.text_hash, chunk.tokens, chunk.text, chunk.page))
        self.connection.executemany(
            "INSERT INTO chunks (doc_id, profile, ordinal, record_id, text_hash, tokens, text, page)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        execute("INSERT OR IGNORE INTO chunked (doc_id, profile) VALUES (?, ?)", which)

    def write_document(
        self, pipeline: str, document: DocumentLike, signature: str, paid: Collection[int] = ()
    ) -> list[int]:
        """Write a document's row and links in the caller's transaction. Its chunks stay as they are.

        Args:
            pipeline: the name and version of the code that read the document.
            document: the document.
            signature: the signature of its file.
            paid: the profiles with paid vectors.

        Returns:
            The profiles whose chunks are out of date: none if content, pipeline and URL are unchanged; those not in
            ``paid`` if the URL and the file or its content are unchanged; otherwise all.
        """
        execute = self.connection.execute
        before = execute(
            "SELECT content_hash, pipeline, url, signature FROM documents WHERE doc_id = ?", (document.doc_id,)
        ).fetchone()
        execute(
            "INSERT INTO documents (doc_id, path, url, title, language, content_hash, word_count, pipeline,"
            " signature) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (doc_id) DO UPDATE SET path ="
            " excluded.path, url = excluded.url, title = excluded.title, language = excluded.language,"
            " content_hash = excluded.content_hash, word_count = excluded.word_count,"
            " pipeline = excluded.pipeline, signature = excluded.signature",
            (document.doc_id, document.path, document.url, document.title, document.language, document.content_hash,
             document.word_count, pipeline, signature),
        )  # fmt: skip
        # A link's target was found by comparing it with every document, so a link that stays keeps its target.
        targets: dict[str, str | None] = {}
        if before is not None:
            targets = dict(execute("SELECT url, target FROM links WHERE doc_id = ?", (document.doc_id,)).fetchall())
            execute("DELETE FROM links WHERE doc_id = ?", (document.doc_id,))
        self.connection.executemany(
            "INSERT OR IGNORE INTO links (doc_id, url, target) VALUES (?, ?, ?)",
            [(document.doc_id, url, targets.get(url)) for url in document.links],
        )
        if before is None or tuple(before)[:3] == (document.content_hash, pipeline, document.url):
            return []
        says_the_same = before["content_hash"] == document.content_hash
        is_same_file = before["signature"] == signature != ""
        kept = paid if before["url"] == document.url and (says_the_same or is_same_file) else ()
        rows = execute("SELECT profile FROM chunked WHERE doc_id = ?", (document.doc_id,)).fetchall()
        stale = [row[0] for row in rows if row[0] not in kept]
        self.connection.executemany(
            "DELETE FROM chunked WHERE doc_id = ? AND profile = ?", [(document.doc_id, profile) for profile in stale]
        )
        return stale

    def delete_documents(self, doc_ids: Sequence[str]) -> None:
        """Delete documents, their links and chunks in one transaction. Their vectors stay, because they cost money."""
        with transaction(self.connection):
            self.connection.executemany("DELETE FROM documents WHERE doc_id = ?", [(d,) for d in doc_ids])

    def document_paths(self) -> list[tuple[str, str]]:
        """Pairs of doc_id and path."""
        return [tuple(row) for row in self.connection.execute("SELECT doc_id, path FROM documents ORDER BY path")]

    def count_documents(self) -> int:
        """The number of documents, without those that a language filter has marked."""
        return int(self.connection.execute("SELECT count(*) FROM documents WHERE filtered = 0").fetchone()[0])

    def has_metadata(self) -> bool:
        """Whether the metadata of any document was read."""
        return self.connection.execute("SELECT 1 FROM metadata LIMIT 1").fetchone() is not None

    def count_chunks(self, profile: int) -> int:
        """The number of passages that are cut for a profile, without marked documents."""
        row = self.connection.execute(f"SELECT count(*) FROM chunks c WHERE profile = ? AND {KEPT}", (profile,))
        return int(row.fetchone()[0])

    def count_texts(self, profile: int) -> int:
        """The number of different passages that are cut for a profile, without marked documents."""
        row = self.connection.execute(
            f"SELECT count(DISTINCT text_hash) FROM chunks c WHERE profile = ? AND {KEPT}", (profile,)
        )
        return int(row.fetchone()[0])

    def passages(self, profile: int) -> Iterator[tuple[str, str, int]]:
        """The document, text hash and token count of each passage that is cut for a profile."""
        rows = self.connection.execute("SELECT doc_id, text_hash, tokens FROM chunks WHERE profile = ?", (profile,))
        return (tuple(row) for row in rows)

    def chunks_of(self, profile: int, doc_id: str) -> list[StoredChunk]:
        """The chunks of a document that are cut for a profile, in order."""
        rows = self.connection.execute(
            "SELECT ordinal, text, text_hash, tokens, page FROM chunks WHERE profile = ? AND doc_id = ?"
            " ORDER BY ordinal",
            (profile, doc_id),
        )
        return [StoredChunk(*row) for row in rows]

    def newest_vector(self) -> int:
        """The id of the newest vector; later vectors get greater ids."""
        return int(self.connection.execute("SELECT coalesce(max(id), 0) FROM vectors").fetchone()[0])

    def missing_texts(
        self, model: int, profile: int, newer_than: int = 0, gone: Sequence[str] = ()
    ) -> list[MissingText]:
        """The texts that have no recent vector, each once, in the order of their first chunks.

        Args:
            model: the model's id.
            profile: the profile of the chunks.
            newer_than: the id of a vector; only later vectors count.
            gone: ids of documents that will be deleted; their texts are left out.
        """
        rows = self.connection.execute(
            "SELECT min(c.id), c.text_hash, c.tokens FROM chunks c WHERE c.profile = ? AND NOT EXISTS ("
            " SELECT 1 FROM vectors v WHERE v.model = ? AND v.text_hash = c.text_hash AND v.id > ?)"
            f" AND {KEPT} AND c.doc_id NOT IN (SELECT value FROM json_each(?))"
            " GROUP BY c.text_hash ORDER BY 1",
            (profile, model, newer_than, json.dumps(list(gone))),
        )
        return [MissingText(*row) for row in rows]

    def texts(self, chunks: Sequence[int]) -> list[str]:
        """The texts of chunks, in the given order."""
        found: dict[int, str] = {}
        for start in range(0, len(chunks), PAGE):
            page = chunks[start : start + PAGE]
            marks = ",".join("?" * len(page))
            found.update(self.connection.execute(f"SELECT id, text FROM chunks WHERE id IN ({marks})", page).fetchall())
        return [found[chunk] for chunk in chunks]

    def put_vectors(
        self, model: int, vectors: Iterable[tuple[str, bytes]], fact: tuple[str, str] | None = None
    ) -> None:
        """Commit vectors, each in place of any older one of its text.

        Args:
            model: the model's id.
            vectors: pairs of text hash and float32 bytes.
            fact: a name and a value to remember in the same transaction.
        """
        with transaction(self.connection):
            self.write_facts(() if fact is None else (fact,))
            self.write_vectors(model, vectors)

    def write_vectors(self, model: int, vectors: Iterable[tuple[str, bytes]]) -> None:
        """As :meth:`put_vectors`, within the caller's transaction."""
        self.connection.executemany(
            "INSERT OR REPLACE INTO vectors (model, text_hash, vector) VALUES (?, ?, ?)",
            [(model, text_hash, vector) for text_hash, vector in vectors],
        )

    def texts_with_vectors(self, key: str) -> set[str]:
        """The hashes of all texts for which the model with that key has a vector."""
        rows = self.connection.execute(
            "SELECT text_hash FROM vectors WHERE model = (SELECT id FROM models WHERE key = ?)", (key,)
        )
        return {row[0] for row in rows}

    def count_vectors(self, model: int) -> int:
        """The number of a model's vectors in this ledger."""
        return int(self.connection.execute("SELECT count(*) FROM vectors WHERE model = ?", (model,)).fetchone()[0])

    def record_ids(self, model: int, profile: int, distinct: bool = False) -> set[str]:
        """The ids of all records that have a vector.

        Args:
            model: the model's id.
            profile: the profile of the chunks.
            distinct: whether to return only the first record of each text.
        """
        rows = self.connection.execute(
            f"SELECT c.record_id{', min(c.id)' if distinct else ''} FROM chunks c"
            " JOIN vectors v ON v.model = ? AND v.text_hash = c.text_hash"
            f" WHERE c.profile = ? AND {KEPT}{' GROUP BY c.text_hash' if distinct else ''}",
            (model, profile),
        )
        return {row[0] for row in rows}

    def record_ids_of_texts(self, profile: int, text_hashes: Sequence[str], distinct: bool = False) -> list[str]:
        """The ids of the records that have any of the texts.

        Args:
            profile: the profile of the chunks.
            text_hashes: the hashes of the texts.
            distinct: whether to return only the first record of each text.
        """
        found: list[str] = []
        column, group = ("record_id, min(id)", " GROUP BY text_hash") if distinct else ("record_id", "")
        for start in range(0, len(text_hashes), PAGE):
            page = text_hashes[start : start + PAGE]
            marks = ",".join("?" * len(page))
            rows = self.connection.execute(
                f"SELECT {column} FROM chunks c WHERE profile = ? AND text_hash IN ({marks}) AND {KEPT}{group}",
                (profile, *page),
            )
            found.extend(row[0] for row in rows)
        return found

    def records(self, model: int, profile: int, ids: Sequence[str]) -> Iterator[list[Record]]:
        """The records with the given ids, in pages.

        Args:
            model: the model's id.
            profile: the profile of the chunks.
            ids: the ids of the records.
        """
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            marks = ",".join("?" * len(page))
            rows = self.connection.execute(
                f"SELECT c.record_id, c.doc_id, d.title, {URL}, c.text, v.vector FROM chunks c"
                " JOIN documents d ON d.doc_id = c.doc_id"
                " JOIN vectors v ON v.model = ? AND v.text_hash = c.text_hash"
                f" WHERE c.profile = ? AND c.record_id IN ({marks}) AND d.filtered = 0",
                (model, profile, *page),
            )
            yield [Record(*row) for row in rows]

    def churn(self, model: int) -> int:
        """The number of records deleted from the model's collection since it was built."""
        return int(self.connection.execute("SELECT churn FROM models WHERE id = ?", (model,)).fetchone()[0])

    def set_churn(self, model: int, churn: int) -> None:
        """Record that the collection exists, and how many records were deleted from it since it was built."""
        with transaction(self.connection):
            self.connection.execute("UPDATE models SET churn = ?, cleared = 0 WHERE id = ?", (churn, model))

    def fact(self, name: str) -> str | None:
        """A remembered value; None if there is none."""
        row = self.connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def write_facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Remember pairs of name and value, within the caller's transaction."""
        self.connection.executemany("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", facts)

    def set_fact(self, name: str, value: str | None) -> None:
        """Remember a value; None forgets it."""
        with transaction(self.connection):
            if value is None:
                self.connection.execute("DELETE FROM facts WHERE name = ?", (name,))
            else:
                self.connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))
