"""The data behind a map: the kept documents of a ledger, the links between them, and a hash of their state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from kbjobs.store.ledger import KEPT, Ledger

TITLE, URL, SNIPPET = 400, 2_000, 400  # the most characters read of each; a longer URL is read as empty
LINKS = 20_000  # links read at a time


@dataclass(frozen=True, slots=True)
class MappedDocument:
    """The document behind a map's point. ``snippet`` is the start of its text; ``language`` is "" if unknown."""

    doc_id: str
    title: str
    url: str
    language: str
    snippet: str


def mapping_state(ledger: Ledger, model: int, profile: int) -> str:
    """A hash of all that a map of the model's vectors shows; it changes when the map would.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        profile: the profile of the chunks.
    """
    execute = ledger.connection.execute
    digest = hashlib.sha256()
    digest.update(
        repr(tuple(execute("SELECT count(*), max(id) FROM vectors WHERE model = ?", (model,)).fetchone())).encode()
    )
    digest.update(repr(tuple(execute("SELECT count(*), count(target) FROM links").fetchone())).encode())
    for (record,) in execute("SELECT record_id FROM chunks WHERE profile = ? ORDER BY record_id", (profile,)):
        digest.update(record.encode())
    for row in execute(
        "SELECT d.doc_id, d.content_hash, d.url, d.title, d.filtered, coalesce(m.language, d.language), m.signature"
        " FROM documents d LEFT JOIN metadata m ON m.doc_id = d.doc_id ORDER BY d.doc_id"
    ):
        digest.update(repr(tuple(row)).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:32]


def mapped_documents(ledger: Ledger, profile: int) -> Iterator[MappedDocument]:
    """The documents that are not filtered, in order of id.

    If a document's metadata was not read, its first passage without the leading title serves as the snippet.
    """
    rows = ledger.connection.execute(
        f"SELECT d.doc_id, substr(d.title, 1, {TITLE}), iif(length(d.url) > {URL}, '', d.url),"
        f" coalesce(m.language, d.language, ''), coalesce(nullif(substr(m.snippet, 1, {SNIPPET}), ''),"
        f" (SELECT substr(c.text, length(d.title) + 1, {SNIPPET}) FROM chunks c"
        " WHERE c.doc_id = d.doc_id AND c.profile = ? ORDER BY c.ordinal LIMIT 1), '')"
        " FROM documents d LEFT JOIN metadata m ON m.doc_id = d.doc_id WHERE d.filtered = 0 ORDER BY d.doc_id",
        (profile,),
    )
    for row in rows:
        yield MappedDocument(*row)


def internal_links(ledger: Ledger) -> Iterator[list[tuple[str, str]]]:
    """Links within the source as pairs of doc_id (from, to), in pages."""
    cursor = ledger.connection.execute(
        "SELECT doc_id, target FROM links WHERE target IS NOT NULL AND target <> doc_id ORDER BY doc_id, target"
    )
    while page := cursor.fetchmany(LINKS):
        yield [(row[0], row[1]) for row in page]


def count_mapped(ledger: Ledger, model: int, profile: int) -> int:
    """The number of passages of kept documents that have a vector of the model.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        profile: the profile of the chunks.
    """
    row = ledger.connection.execute(
        "SELECT count(*) FROM chunks c JOIN vectors v ON v.model = ? AND v.text_hash = c.text_hash"
        f" WHERE c.profile = ? AND {KEPT}",
        (model, profile),
    )
    return int(row.fetchone()[0])


def has_mapped(ledger: Ledger, model: int, profile: int) -> bool:
    """Whether any kept document has a vector of the model.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        profile: the profile of the chunks.
    """
    row = ledger.connection.execute(
        "SELECT 1 FROM chunks c JOIN vectors v ON v.model = ? AND v.text_hash = c.text_hash"
        f" WHERE c.profile = ? AND {KEPT} LIMIT 1",
        (model, profile),
    )
    return row.fetchone() is not None
