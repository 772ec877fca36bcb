"""The batches of a ledger: passages handed to an API, recorded from before they are sent until all are back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kbjobs.store.connection import transaction
from kbjobs.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch whose results are not all back yet. Times are seconds since 1970.

    ``asked_at``: the time from which the server may hold some of it; ``file`` and ``batch``: the server's names for its
    input and for the batch, None while they are unknown. ``size`` is the number of texts put into it; ``texts`` and
    ``tokens`` count those still awaited.
    """

    key: str
    size: int
    made_at: float
    asked_at: float | None
    file: str | None
    batch: str | None
    texts: int
    tokens: int


def open_batch(ledger: Ledger, key: str, model_key: str, texts: Sequence[tuple[str, int]]) -> OpenBatch:
    """Record a batch and its texts before any of it is sent.

    Args:
        ledger: the source's ledger.
        key: the batch's name in the ledger.
        model_key: the key of the model that embeds the texts.
        texts: the hash of each text and the number of its tokens.
    """
    moment = time.time()
    with transaction(ledger.connection):
        ledger.connection.execute(
            "INSERT INTO batches (key, model, size, made_at) VALUES (?, ?, ?, ?)", (key, model_key, len(texts), moment)
        )
        ledger.connection.executemany(
            "INSERT INTO batch_texts (batch, text_hash, tokens) VALUES (?, ?, ?)",
            [(key, text_hash, tokens) for text_hash, tokens in texts],
        )
    return OpenBatch(key, len(texts), moment, None, None, None, len(texts), sum(tokens for _, tokens in texts))


def list_batches(ledger: Ledger, model_key: str) -> list[OpenBatch]:
    """The open batches of a model, oldest first."""
    rows = ledger.connection.execute(
        "SELECT key, size, made_at, asked_at, file, b.batch, count(t.text_hash), coalesce(sum(t.tokens), 0)"
        " FROM batches b LEFT JOIN batch_texts t ON t.batch = b.key WHERE b.model = ?"
        " GROUP BY key ORDER BY made_at, key",
        (model_key,),
    )
    return [OpenBatch(*row) for row in rows]


def has_batches(ledger: Ledger, model_key: str) -> bool:
    """Whether a model has an open batch."""
    return ledger.connection.execute("SELECT 1 FROM batches WHERE model = ?", (model_key,)).fetchone() is not None


def texts_out(ledger: Ledger, model_key: str) -> dict[str, str]:
    """The texts of a model's open batches: the key of the batch that holds each text, by the text's hash."""
    rows = ledger.connection.execute(
        "SELECT text_hash, batch FROM batch_texts WHERE batch IN (SELECT key FROM batches WHERE model = ?)",
        (model_key,),
    )
    return {row[0]: row[1] for row in rows}


def texts_of(ledger: Ledger, key: str) -> dict[str, int]:
    """The token counts of a batch's texts that are still awaited, by hash."""
    rows = ledger.connection.execute("SELECT text_hash, tokens FROM batch_texts WHERE batch = ?", (key,))
    return {row[0]: row[1] for row in rows}


def note_asking(ledger: Ledger, key: str) -> None:
    """Record that the server may hold parts of the batch from now on."""
    with transaction(ledger.connection):
        ledger.connection.execute("UPDATE batches SET asked_at = ? WHERE key = ?", (time.time(), key))


def note_file(ledger: Ledger, key: str, file: str | None) -> None:
    """Record the server's name for the batch's input.

    Args:
        ledger: the source's ledger.
        key: the batch's name in the ledger.
        file: the server's name; None once the server has deleted the input.
    """
    with transaction(ledger.connection):
        ledger.connection.execute("UPDATE batches SET file = ? WHERE key = ?", (file, key))


def note_batch(ledger: Ledger, key: str, batch: str, file: str) -> None:
    """Record the server's names for the batch and for its input.

    Args:
        ledger: the source's ledger.
        key: the batch's name in the ledger.
        batch: the server's name for the batch.
        file: the server's name for its input.
    """
    with transaction(ledger.connection):
        ledger.connection.execute("UPDATE batches SET batch = ?, file = ? WHERE key = ?", (batch, file, key))


def take_vectors(
    ledger: Ledger, key: str, model: int, vectors: Sequence[tuple[str, bytes]], facts: Iterable[tuple[str, str]]
) -> None:
    """Commit vectors that a batch returned, and stop waiting for them.

    Args:
        ledger: the source's ledger.
        key: the batch's name in the ledger.
        model: the model's id in the ledger.
        vectors: pairs of text hash and float32 bytes.
        facts: names and values to remember in the same transaction.
    """
    with transaction(ledger.connection):
        ledger.write_facts(facts)
        ledger.write_vectors(model, vectors)
        ledger.connection.executemany(
            "DELETE FROM batch_texts WHERE batch = ? AND text_hash = ?", [(key, text_hash) for text_hash, _ in vectors]
        )


def give_up_texts(ledger: Ledger, key: str, fact: tuple[str, str]) -> None:
    """Stop waiting for the rest of a batch. Its row stays until the server's files are deleted.

    Args:
        ledger: the source's ledger.
        key: the batch's name in the ledger.
        fact: a name and a value to remember in the same transaction.
    """
    with transaction(ledger.connection):
        ledger.write_facts((fact,))
        ledger.connection.execute("DELETE FROM batch_texts WHERE batch = ?", (key,))


def close_batch(ledger: Ledger, key: str) -> None:
    """Forget a batch; texts still awaited from it count as missing again."""
    with transaction(ledger.connection):
        ledger.connection.execute("DELETE FROM batches WHERE key = ?", (key,))
