"""Merging a source's older ledger into a new one, so that no paid vector is lost.

The merge takes the documents that only the older ledger has, the passages for other models of documents that both have
with the same text, and the vectors of all texts that still exist.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kbjobs.store.connection import explain, transaction
from kbjobs.store.ledger import Ledger

_DOCUMENT = "doc_id, path, url, title, language, content_hash, word_count, pipeline, signature, filtered"
_METADATA = (
    "doc_id, state, signature, language, snippet, characters, heading_count, headings, evidence, description,"
    " published, doc_type, authors, categories"
)
_CHUNK = "doc_id, ordinal, record_id, text_hash, tokens, text, page"


@dataclass(frozen=True, slots=True)
class Merged:
    """The number of documents and vectors taken over."""

    documents: int
    vectors: int


def merge_ledger(ledger: Ledger, old: Path, facts: Sequence[str]) -> Merged:
    """Take over what only an older ledger has.

    Args:
        ledger: the new ledger, which nobody else uses.
        old: the file of the older ledger, in the current format.
        facts: prefixes of the names of facts to take over too.
    """
    connection = ledger.connection
    try:
        connection.execute("ATTACH DATABASE ? AS old", (f"file:{old}?mode=ro",))
    except sqlite3.Error as error:
        raise explain(error, old) from error
    try:
        connection.execute("CREATE TEMP TABLE taken (doc_id TEXT PRIMARY KEY) WITHOUT ROWID")
        with transaction(connection):
            documents = _take_documents(connection)
            # An unchanged document also has the same record ids, since they are hashes of address, title and text.
            connection.execute(
                "INSERT OR IGNORE INTO taken SELECT d.doc_id FROM documents d JOIN old.documents o USING (doc_id)"
                " WHERE d.content_hash = o.content_hash AND d.url = o.url AND d.title = o.title"
            )
            connection.execute(
                "UPDATE documents SET signature ="
                " (SELECT signature FROM old.documents o WHERE o.doc_id = documents.doc_id)"
                " WHERE doc_id IN (SELECT doc_id FROM taken)"
            )
        for number, name in connection.execute("SELECT id, name FROM old.profiles").fetchall():
            _take_passages(ledger, number, ledger.profile(name))
        vectors = _take_vectors(ledger)
        for name, value in connection.execute("SELECT name, value FROM old.facts").fetchall():
            if name.startswith(tuple(facts)):
                ledger.set_fact(name, value)
        connection.execute("DROP TABLE taken")
    finally:
        connection.execute("DETACH DATABASE old")
    return Merged(documents, vectors)


def carry_facts(ledger: Ledger, old: Path, facts: Sequence[str]) -> None:
    """Copy facts from an older ledger, and nothing else.

    Args:
        ledger: the ledger to write to.
        old: the older ledger's file.
        facts: prefixes of the names to copy.
    """
    with Ledger(old) as there:
        found = there.connection.execute("SELECT name, value FROM facts").fetchall()
    for name, value in found:
        if name.startswith(tuple(facts)):
            ledger.set_fact(name, value)


def _take_documents(connection: sqlite3.Connection) -> int:
    connection.execute(
        "INSERT INTO taken SELECT doc_id FROM old.documents WHERE doc_id NOT IN (SELECT doc_id FROM documents)"
    )
    count = connection.execute(
        f"INSERT INTO documents ({_DOCUMENT}) SELECT {_DOCUMENT} FROM old.documents"
        " WHERE doc_id IN (SELECT doc_id FROM taken)"
    ).rowcount
    connection.execute(
        f"INSERT INTO metadata ({_METADATA}) SELECT {_METADATA} FROM old.metadata"
        " WHERE doc_id IN (SELECT doc_id FROM taken)"
    )
    connection.execute(
        "INSERT OR IGNORE INTO links (doc_id, url, target) SELECT doc_id, url,"
        " (SELECT doc_id FROM documents d WHERE d.doc_id = l.target) FROM old.links l"
        " WHERE doc_id IN (SELECT doc_id FROM taken)"
    )
    return int(count)


def _take_passages(ledger: Ledger, old_profile: int, profile: int) -> None:
    """Take the passages of taken documents that are not cut for the profile yet."""
    with transaction(ledger.connection):
        wanted = (
            "doc_id IN (SELECT doc_id FROM taken)"
            " AND doc_id NOT IN (SELECT doc_id FROM main.chunked WHERE profile = :profile)"
        )
        numbers = {"profile": profile, "old": old_profile}
        ledger.connection.execute(
            f"INSERT INTO chunks (profile, {_CHUNK}) SELECT :profile, {_CHUNK} FROM old.chunks"
            f" WHERE profile = :old AND {wanted}",
            numbers,
        )
        ledger.connection.execute(
            "INSERT INTO chunked (doc_id, profile) SELECT doc_id, :profile FROM old.chunked"
            f" WHERE profile = :old AND {wanted}",
            numbers,
        )


def _take_vectors(ledger: Ledger) -> int:
    taken = 0
    execute = ledger.connection.execute
    rows = execute(
        "SELECT m.id, m.key, m.name, m.dimension, p.name FROM old.models m JOIN old.profiles p ON p.id = m.profile"
    ).fetchall()
    known = {row.key for row in ledger.models()}
    for number, key, name, dimension, profile_name in rows:
        if key in known:
            model = next(row.id for row in ledger.models() if row.key == key)
        else:
            model = ledger.model(key, name, dimension, ledger.profile(profile_name))
        with transaction(ledger.connection):
            taken += execute(
                "INSERT OR IGNORE INTO vectors (model, text_hash, vector) SELECT ?, v.text_hash, v.vector"
                " FROM old.vectors v WHERE v.model = ? AND v.text_hash IN (SELECT text_hash FROM main.chunks)",
                (model, number),
            ).rowcount
    return taken
