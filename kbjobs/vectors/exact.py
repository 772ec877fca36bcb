"""The exact index of a collection: its vectors as a matrix, and its passages with their words in a file.

Both are written from the ledger into the collection's directory, and published with it. Directories from an older
version lack them, and are searched with Chroma until they are next published. If the matrix would be too large, it is
left out on purpose: Chroma finds the vectors, and the file tells which passages they belong to.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from kbjobs.content.search_words import fold_text
from kbjobs.store import publication as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.passages import PassageFile, PassageWriter
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.matrix import open_matrix, seal_matrix, write_matrix
from kbjobs.vectors.wanted import WITHOUT_MATRIX, LedgerRecords, read_wanted

MATRIX = "matrix.f32"
PASSAGES = "passages.db"
MENDING = "mending-"  # name prefix of a directory in which a damaged index is rebuilt


def write_exact(ledger: Ledger, model: int, profile: int, directory: Path, wanted: LedgerRecords) -> None:
    """Write the exact index of a model into a folder that nobody reads yet.

    Args:
        ledger: the source's ledger.
        model: the model's row in it.
        profile: the row of its cutting profile.
        directory: the folder to write into.
        wanted: what the ledger holds, and whether to write a matrix.
    """
    rows: dict[str, int] = {}
    if not wanted.has_matrix:
        (directory / MATRIX).unlink(missing_ok=True)
        _write_passages(ledger, profile, directory, rows, wanted)
        return
    dimension = store.dimension(ledger, model)

    def vectors() -> Iterator[bytes]:
        for text_hash, vector in store.distinct_vectors(ledger, model, profile):
            rows[text_hash] = len(rows)
            yield vector

    path = directory / MATRIX
    write_matrix(path, dimension, vectors())
    crash_point("matrix.rows_written")
    _write_passages(ledger, profile, directory, rows, wanted)
    seal_matrix(path, dimension, len(rows), wanted.state)
    crash_point("matrix.sealed")


def _write_passages(
    ledger: Ledger, profile: int, directory: Path, rows: Mapping[str, int], wanted: LedgerRecords
) -> None:
    with PassageWriter(directory / PASSAGES, fold_text) as passages:
        passages.make_equal(wanted.languages, lambda ids: store.passages_of(ledger, profile, ids), wanted.state)
        passages.set_vectors(rows)
    crash_point("passages.written")


def mend_exact(ledger: Ledger, model: int, profile: int, directory: Path) -> None:
    """Rebuild the damaged files of a published exact index. The caller holds the source's lock.

    The new index has the passages that were published or, if their file is damaged too, those that the ledger has now.
    Files are replaced as a whole, so that readers are not disturbed.

    Args:
        ledger: the source's ledger.
        model: the model's row in it.
        profile: the row of its cutting profile.
        directory: the published index.

    Raises:
        LookupError: a vector is no longer in the ledger.
    """
    try:
        with PassageFile(directory / PASSAGES) as published:
            state, texts = published.state, published.texts()
    except (OSError, sqlite3.Error, ValueError, TypeError):
        texts = None
    with tempfile.TemporaryDirectory(dir=directory, prefix=MENDING) as name:
        beside = Path(name)
        if texts is None:
            write_exact(ledger, model, profile, beside, read_wanted(ledger, model, profile, has_matrix=True))
            (beside / PASSAGES).replace(directory / PASSAGES)
        else:
            dimension = store.dimension(ledger, model)
            write_matrix(beside / MATRIX, dimension, store.vectors_of_texts(ledger, model, texts))
            seal_matrix(beside / MATRIX, dimension, len(texts), state)
        (beside / MATRIX).replace(directory / MATRIX)


def read_state(directory: Path) -> str | None:
    """The state that a directory's exact index was made from; None if there is no usable index."""
    try:
        with PassageFile(directory / PASSAGES) as passages:
            if not passages.state.endswith(WITHOUT_MATRIX):
                open_matrix(directory / MATRIX, passages.state)
            return passages.state
    except (OSError, sqlite3.Error, ValueError, TypeError):
        return None
