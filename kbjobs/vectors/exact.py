"""The exact index of a collection: its vectors as a matrix, its passages and their words in a file, from the ledger.

Both lie in the collection's directory and take its place with it. An older version has published directories without
them: these are searched with Chroma, until they are next published.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from kbjobs.content.words import fold_words
from kbjobs.crashpoints import crash_point
from kbjobs.store import publishing as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.passages import PassageFile, PassageWriter
from kbjobs.vectors.matrix import open_matrix, seal_matrix, write_matrix

MATRIX = "matrix.f32"
PASSAGES = "passages.db"


def write_exact(ledger: Ledger, model: int, profile: int, directory: Path) -> None:
    """Write the exact index of a model into a directory that nobody reads yet."""
    rows: dict[str, int] = {}
    dimension = store.dimension(ledger, model)

    def vectors() -> Iterator[bytes]:
        for text_hash, vector in store.distinct_vectors(ledger, model, profile):
            rows[text_hash] = len(rows)
            yield vector

    path = directory / MATRIX
    write_matrix(path, dimension, vectors())
    crash_point("matrix.rows_written")
    state = exact_state(ledger, model, profile)
    with PassageWriter(directory / PASSAGES, _fold) as passages:
        wanted = store.passage_languages(ledger, model, profile)
        passages.make_equal(wanted, lambda ids: store.passages_of(ledger, profile, ids), state)
        passages.set_vectors(rows)
    crash_point("passages.written")
    seal_matrix(path, dimension, len(rows), state)
    crash_point("matrix.sealed")


def _fold(text: str, language: str | None) -> str:
    return " ".join(fold_words(text, language))


def exact_state(ledger: Ledger, model: int, profile: int) -> str:
    """Names what an exact index is made of: equal as long as its passages, their languages and their vectors are."""
    digest = hashlib.sha256()
    for name, language in sorted(store.passage_languages(ledger, model, profile).items()):
        digest.update(f"{name} {language}\n".encode())
    return f"{digest.hexdigest()[:32]} {store.newest_vector_of(ledger, model)}"


def read_state(directory: Path) -> str | None:
    """The state a directory's exact index was made of; None where there is none that can be used."""
    try:
        with PassageFile(directory / PASSAGES) as passages:
            open_matrix(directory / MATRIX, passages.state)
            return passages.state
    except (OSError, sqlite3.Error, ValueError, TypeError):
        return None
