"""The exact index of a collection: its vectors as a matrix, and its passages with their words in a file.

Both are written from the ledger into the collection's directory, and published with it. Directories from an older
version lack them, and are searched with Chroma until they are next published. If the matrix would be too large, it is
left out on purpose: Chroma finds the vectors, and the file tells which passages they belong to.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kbjobs.content.search_words import fold_text
from kbjobs.store import publication as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.passages import PassageFile, PassageWriter
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.matrix import open_matrix, patch_matrix, seal_matrix, write_matrix
from kbjobs.vectors.wanted import WITHOUT_MATRIX, LedgerRecords, newest_vector, read_wanted

MATRIX = "matrix.f32"
PASSAGES = "passages.db"
MAX_PATCHED = 0.25
"""Up to this share of changed vectors, a matrix is copied and patched; beyond it, reading all in order is quicker."""
MENDING = "mending-"  # name prefix of a directory in which a damaged index is rebuilt


@dataclass(frozen=True, slots=True)
class Published:
    """A published index to which nobody has written since it was verified: its directory, and the state it was made of.

    Its rows are those of the ledger then, so that only what has changed since need be read from the ledger.
    """

    directory: Path
    state: str

    @property
    def has_matrix(self) -> bool:
        """Whether its vectors are a matrix, too."""
        return not self.state.endswith(WITHOUT_MATRIX)

    @property
    def newest(self) -> int:
        """The id of the newest vector that it has."""
        return newest_vector(self.state)

    def records(self) -> set[str]:
        """The ids of its passages' records. Raises OSError, sqlite3.Error, ValueError if the file is damaged."""
        with PassageFile(self.directory / PASSAGES) as passages:
            return passages.records()

    def texts(self) -> list[str]:
        """The hashes of the texts of its matrix, in the order of the rows. Raises as :meth:`records`."""
        open_matrix(self.directory / MATRIX, self.state)
        with PassageFile(self.directory / PASSAGES) as passages:
            return passages.texts()


def write_exact(
    ledger: Ledger, model: int, profile: int, directory: Path, wanted: LedgerRecords, before: Published | None = None
) -> None:
    """Write the exact index of a model into a folder that nobody reads yet.

    Args:
        ledger: the source's ledger.
        model: the model's row in it.
        profile: the row of its cutting profile.
        directory: the folder to write into.
        wanted: what the ledger holds, and whether to write a matrix.
        before: the published index, whose unchanged rows are copied.
    """
    path = directory / MATRIX
    dimension = store.dimension(ledger, model)
    rows: dict[str, int] = {}
    with PassageWriter(directory / PASSAGES, fold_text) as passages:
        passages.make_equal(wanted.languages, lambda ids: store.passages_of(ledger, profile, ids), wanted.state)
        if wanted.has_matrix:
            rows = _patch(path, ledger, model, passages.texts(), before) or _write_rows(path, ledger, model, profile)
            crash_point("matrix.rows_written")
        else:
            path.unlink(missing_ok=True)
        passages.set_vectors(rows)
    crash_point("passages.written")
    if wanted.has_matrix:
        seal_matrix(path, dimension, len(rows), wanted.state)
        crash_point("matrix.sealed")


def _write_rows(path: Path, ledger: Ledger, model: int, profile: int) -> dict[str, int]:
    """Write all rows of a matrix; returns the row of each text."""
    rows: dict[str, int] = {}

    def vectors() -> Iterator[bytes]:
        for text_hash, vector in store.distinct_vectors(ledger, model, profile):
            rows[text_hash] = len(rows)
            yield vector

    write_matrix(path, store.dimension(ledger, model), vectors())
    return rows


def _patch(
    path: Path, ledger: Ledger, model: int, texts: Sequence[str], before: Published | None
) -> dict[str, int] | None:
    """Write a matrix from the published one and what has changed since; returns the row of each text.

    None, and nothing is written, if there is none that can be used, or if most of it has changed.
    """
    if before is None or not before.has_matrix:
        return None
    try:
        former = before.texts()
    except (OSError, sqlite3.Error, ValueError):
        return None
    rows, moved = keep_rows(former, texts)
    moved |= store.texts_since(ledger, model, before.newest)
    changed = [text for text in texts if text in moved]
    if len(changed) > MAX_PATCHED * len(texts):
        return None
    vectors = store.vectors_of_texts(ledger, model, changed)
    new = zip((rows[text] for text in changed), vectors, strict=True)
    patch_matrix(path, before.directory / MATRIX, store.dimension(ledger, model), len(rows), new)
    return rows


def keep_rows(former: Sequence[str], texts: Sequence[str]) -> tuple[dict[str, int], set[str]]:
    """Give each text a row so that as few as possible change; there are no gaps.

    Args:
        former: the texts that had rows, in their order.
        texts: the texts that are to have one, each once.

    Returns:
        The row of each text, and the texts that had another row, or none.
    """
    wanted = set(texts)
    rows = {text: row for row, text in enumerate(former) if text in wanted and row < len(texts)}
    free = sorted(set(range(len(texts))) - set(rows.values()))
    moved = [text for text in texts if text not in rows]
    rows |= zip(moved, free, strict=True)
    return rows, set(moved)


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
