"""The part of a ledger that is published for searching: a model's passages and their vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from kbjobs.store.ledger import KEPT, PAGE, URL, Ledger
from kbjobs.store.ledger_rows import PushedPassage
from kbjobs.store.passages import Passage


def dimension(ledger: Ledger, model: int) -> int:
    """The dimension of a model's vectors."""
    return int(ledger.connection.execute("SELECT dimension FROM models WHERE id = ?", (model,)).fetchone()[0])


def text_bytes(ledger: Ledger, profile: int) -> int:
    """The approximate size of a profile's passages in bytes."""
    row = ledger.connection.execute("SELECT coalesce(sum(length(text)), 0) FROM chunks WHERE profile = ?", (profile,))
    return int(row.fetchone()[0])


def distinct_vectors(ledger: Ledger, model: int, profile: int) -> Iterator[tuple[str, bytes]]:
    """The hash and vector of each record's text, once, in the order of the texts' first chunks.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        profile: the profile of the chunks.
    """
    rows = ledger.connection.execute(
        "SELECT c.text_hash, v.vector FROM (SELECT text_hash, min(id) AS first FROM chunks c WHERE profile = ?"
        f" AND {KEPT} GROUP BY text_hash) AS c JOIN vectors v ON v.model = ? AND v.text_hash = c.text_hash"
        " ORDER BY c.first",
        (profile, model),
    )
    yield from (tuple(row) for row in rows)


def sample_vectors(ledger: Ledger, model: int, profile: int, count: int) -> Iterator[bytes]:
    """The vectors of a random sample of the records' texts.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        profile: the profile of the chunks.
        count: the number of texts in the sample.
    """
    rows = ledger.connection.execute(
        "SELECT v.vector FROM (SELECT DISTINCT text_hash FROM chunks c WHERE profile = ?"
        f" AND {KEPT} ORDER BY random() LIMIT ?) AS c JOIN vectors v ON v.model = ? AND v.text_hash = c.text_hash",
        (profile, count, model),
    )
    yield from (row[0] for row in rows)


def vectors_of_texts(ledger: Ledger, model: int, text_hashes: Sequence[str]) -> Iterator[bytes]:
    """The vectors of texts, in their order.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        text_hashes: the hashes of the texts.

    Raises:
        LookupError: a text has no vector.
    """
    for text_hash in text_hashes:
        row = ledger.connection.execute(
            "SELECT vector FROM vectors WHERE model = ? AND text_hash = ?", (model, text_hash)
        ).fetchone()
        if row is None:
            raise LookupError(f"the ledger has no vector of the text {text_hash}")
        yield row[0]


def texts_since(ledger: Ledger, model: int, newest: int) -> set[str]:
    """The hashes of the texts whose vector was written after another one.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        newest: the id of that vector.
    """
    rows = ledger.connection.execute("SELECT text_hash FROM vectors WHERE id > ? AND model = ?", (newest, model))
    return {row[0] for row in rows}


def searched_records(
    ledger: Ledger, model: int, profile: int, with_first: bool = False
) -> Iterator[tuple[str, str | None, int, bool]]:
    """Each record that has a vector: its id, language, the id of its vector, and whether it is the first of its text.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        profile: the profile of the chunks.
        with_first: whether to find the first record of each text; otherwise the last value is always False.
    """
    first = "c.id = min(c.id) OVER (PARTITION BY c.text_hash)" if with_first else "0"
    rows = ledger.connection.execute(
        f"SELECT c.record_id, coalesce(m.language, d.language), v.id, {first} FROM chunks c"
        " JOIN documents d ON d.doc_id = c.doc_id LEFT JOIN metadata m ON m.doc_id = c.doc_id"
        " JOIN vectors v ON v.model = ? AND v.text_hash = c.text_hash WHERE c.profile = ? AND d.filtered = 0",
        (model, profile),
    )
    for name, language, vector, is_first in rows:
        yield name, language, vector, bool(is_first)


def passage_languages(ledger: Ledger, profile: int) -> dict[str, str | None]:
    """The language of each record, by its id, including records without a vector."""
    rows = ledger.connection.execute(
        "SELECT c.record_id, coalesce(m.language, d.language) FROM chunks c JOIN documents d ON d.doc_id = c.doc_id"
        " LEFT JOIN metadata m ON m.doc_id = c.doc_id WHERE c.profile = ? AND d.filtered = 0",
        (profile,),
    )
    return {row[0]: row[1] for row in rows}


def passages_of(ledger: Ledger, profile: int, ids: Sequence[str]) -> Iterator[list[Passage]]:
    """The passages of records, in pages, without their vector rows.

    Args:
        ledger: the source's ledger.
        profile: the profile of the chunks.
        ids: the ids of the records.
    """
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        marks = ",".join("?" * len(page))
        rows = ledger.connection.execute(
            "SELECT c.record_id, c.doc_id, NULL, c.text_hash, d.path, coalesce(m.language, d.language), d.title,"
            f" {URL}, c.text FROM chunks c JOIN documents d ON d.doc_id = c.doc_id"
            f" LEFT JOIN metadata m ON m.doc_id = c.doc_id WHERE c.profile = ? AND c.record_id IN ({marks})",
            (profile, *page),
        )
        yield [Passage(*row) for row in rows]


def pushed_states(ledger: Ledger, model: int, profile: int) -> Iterator[tuple[str, tuple[str, str, str], bytes]]:
    """Each record that has a vector: its id, its document's title, path and language ('' if unknown), and its vector.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        profile: the profile of the chunks.
    """
    rows = ledger.connection.execute(
        "SELECT c.record_id, d.title, d.path, coalesce(m.language, d.language, ''), v.vector FROM chunks c"
        " JOIN documents d ON d.doc_id = c.doc_id LEFT JOIN metadata m ON m.doc_id = c.doc_id"
        " JOIN vectors v ON v.model = ? AND v.text_hash = c.text_hash WHERE c.profile = ? AND d.filtered = 0",
        (model, profile),
    )
    for row in rows:
        yield row[0], (row[1], row[2], row[3]), row[4]


def pushed_passages(
    ledger: Ledger, model: int, profile: int, ids: Sequence[str], has_vectors: bool = True
) -> Iterator[list[PushedPassage]]:
    """The passages of records, in pages, in the order of the ids.

    Args:
        ledger: the source's ledger.
        model: the model's id.
        profile: the profile of the chunks.
        ids: the ids of the records.
        has_vectors: whether to read the vectors; otherwise they are empty.
    """
    vector = "v.vector" if has_vectors else "x''"
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        marks = ",".join("?" * len(page))
        rows = ledger.connection.execute(
            "SELECT c.record_id, c.doc_id, d.path, coalesce(m.language, d.language), d.title,"
            f" {URL}, c.text, {vector} FROM chunks c"
            " JOIN documents d ON d.doc_id = c.doc_id LEFT JOIN metadata m ON m.doc_id = c.doc_id"
            " JOIN vectors v ON v.model = ? AND v.text_hash = c.text_hash"
            f" WHERE c.profile = ? AND c.record_id IN ({marks})",
            (model, profile, *page),
        )
        found = {row[0]: PushedPassage(*row) for row in rows}
        yield [found[name] for name in page if name in found]


def describable(ledger: Ledger) -> dict[str, str | None]:
    """The language of each document whose metadata is known, by its id and content hash joined with a space."""
    rows = ledger.connection.execute(
        "SELECT d.doc_id || ' ' || d.content_hash, coalesce(m.language, d.language) FROM documents d"
        " JOIN metadata m USING (doc_id) WHERE d.filtered = 0"
    )
    return {row[0]: row[1] for row in rows}


def descriptions_of(ledger: Ledger, ids: Sequence[str]) -> Iterator[list[Passage]]:
    """Substitutes for passages, in pages: each document's title, headings and snippet from its metadata.

    ``ids`` are keys of :func:`describable`.
    """
    for start in range(0, len(ids), PAGE):
        page = [name.partition(" ")[0] for name in ids[start : start + PAGE]]
        marks = ",".join("?" * len(page))
        rows = ledger.connection.execute(
            "SELECT d.doc_id, d.path, coalesce(m.language, d.language), d.title, d.url, m.headings, m.snippet"
            f" FROM documents d JOIN metadata m USING (doc_id) WHERE d.doc_id IN ({marks})",
            page,
        )
        yield [
            Passage(
                doc_id, doc_id, None, "", path, language, title, url,
                "\n".join([title, *(text for _, text in json.loads(headings)), snippet]),
            )
            for doc_id, path, language, title, url, headings, snippet in rows
        ]  # fmt: skip
