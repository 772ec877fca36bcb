"""Document vectors: the mean of the vectors of a document's passages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from kbjobs.context import Context
from kbjobs.store import tag_rows as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import IndexedModel

STEP = 5_000  # vectors between two reports of progress


def document_vectors(
    context: Context, ledger: Ledger, model: IndexedModel, message: str, span: tuple[float, float]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield a vector for each document: the mean of its passages' vectors, of unit length.

    Args:
        context: takes the progress.
        ledger: the source's ledger.
        model: the model of the vectors; documents without any are left out.
        message: the message of the progress report.
        span: the part of the phase that this takes, from 0 to 1.

    Yields:
        The document's id and its vector, in order of id.
    """
    total = ledger.count_chunks(model.profile)
    done = reported = 0
    for doc_id, group in groupby(store.passage_vectors(ledger, model.id, model.profile), key=lambda pair: pair[0]):
        vectors = np.stack([np.frombuffer(vector, "<f4") for _, vector in group])
        done += len(vectors)
        if done - reported >= STEP:
            context.progress(done, total, "chunks", message, span)
            reported = done
        mean = vectors.mean(axis=0)
        length = float(np.linalg.norm(mean))
        if length > 0:
            yield doc_id, mean / length
