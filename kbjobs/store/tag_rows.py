"""The data behind tag suggestions: the kept documents of a ledger, their vectors and their texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kbjobs.store.ledger import KEPT, PAGE, Ledger

TEXT_CHARACTERS = 10_000  # most characters read of one document


@dataclass(frozen=True, slots=True)
class TaggedDocument:
    """A document that is not filtered; ``snippet`` is empty if its metadata was not read."""

    doc_id: str
    path: str
    url: str
    title: str
    snippet: str
    words: int = 0


def content_state(ledger: Ledger) -> str:
    """A hash of the ids and contents of the kept documents."""
    digest = hashlib.sha256()
    for row in ledger.connection.execute(
        "SELECT doc_id, content_hash FROM documents WHERE filtered = 0 ORDER BY doc_id"
    ):
        digest.update(f"{row[0]} {row[1]}\n".encode())
    return digest.hexdigest()[:32]


def kept_documents(ledger: Ledger) -> list[TaggedDocument]:
    """The documents that are not filtered, in order of id. Ids are hashes, so the first ones are a random sample."""
    rows = ledger.connection.execute(
        "SELECT d.doc_id, d.path, d.url, d.title, coalesce(m.snippet, ''), d.word_count FROM documents d"
        " LEFT JOIN metadata m ON m.doc_id = d.doc_id WHERE d.filtered = 0 ORDER BY d.doc_id"
    )
    return [TaggedDocument(*row) for row in rows]


def passage_vectors(ledger: Ledger, model: int, profile: int) -> Iterator[tuple[str, bytes]]:
    """Pairs of document id and the vector (float32) of one of its passages, grouped by document.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        profile: the profile of the chunks.
    """
    rows = ledger.connection.execute(
        "SELECT c.doc_id, v.vector FROM chunks c JOIN vectors v ON v.model = ? AND v.text_hash = c.text_hash"
        f" WHERE c.profile = ? AND {KEPT} ORDER BY c.doc_id",
        (model, profile),
    )
    yield from (tuple(row) for row in rows)


def document_texts(ledger: Ledger, doc_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of doc_id and text: title and passages if the document is cut, otherwise title, headings and snippet."""
    execute = ledger.connection.execute
    for start in range(0, len(doc_ids), PAGE):
        page = doc_ids[start : start + PAGE]
        marks = ",".join("?" * len(page))
        heads = execute(
            "SELECT d.doc_id, d.title,"
            " coalesce((SELECT group_concat(json_extract(value, '$[1]'), '; ') FROM json_each(m.headings)), '')"
            " || ' ' || coalesce(m.snippet, ''),"
            " (SELECT min(profile) FROM chunks c WHERE c.doc_id = d.doc_id) FROM documents d"
            f" LEFT JOIN metadata m ON m.doc_id = d.doc_id WHERE d.doc_id IN ({marks})",
            page,
        ).fetchall()
        for doc_id, title, outline, profile in heads:
            if profile is None:
                yield doc_id, f"{title}\n{outline}"
            else:
                yield doc_id, f"{title}\n{_passages(ledger, doc_id, profile)}"


def _passages(ledger: Ledger, doc_id: str, profile: int) -> str:
    rows = ledger.connection.execute(
        "SELECT text FROM chunks WHERE doc_id = ? AND profile = ? ORDER BY ordinal", (doc_id, profile)
    )
    pieces: list[str] = []
    length = 0
    for row in rows:
        pieces.append(row[0].partition("\n")[2])  # its first line is the document's title
        length += len(pieces[-1])
        if length >= TEXT_CHARACTERS:
            break
    rows.close()
    return "\n".join(pieces)[:TEXT_CHARACTERS]
