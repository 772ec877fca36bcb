"""Take a batch's results: vectors go to the ledger, failures are recorded, the rest is missing again; then tidy up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kbjobs.context import Context
from kbjobs.embedding.batch_lines import BatchLine, Outcome, read_line
from kbjobs.embedding.online_models import OPENAI_KEY, SET_KEY
from kbjobs.embedding.openai_batches import LINE_BYTES, Sent
from kbjobs.embedding.openai_client import ADD_MONEY, BadAnswerError
from kbjobs.embedding.openai_embedder import REFUSED_IN_A_ROW
from kbjobs.errors import KbjobsError, MissingRequirementError
from kbjobs.indexing.batch_sending import BatchSender
from kbjobs.indexing.batch_state import BatchState
from kbjobs.indexing.usage import Usage
from kbjobs.store.api_batches import OpenBatch, give_up_texts, take_vectors, texts_of
from kbjobs.store.ledger_rows import IndexedModel
from kbjobs.system.crashpoints import crash_point

COMMIT = 500
"""Vectors that are committed together."""

SPARE_LINES = 1_000  # that a result file may have beyond the requests


class BatchTaker:
    """Takes the results of the ended batches of one model into one ledger."""

    def __init__(
        self, context: Context, model: IndexedModel, sender: BatchSender, state: BatchState, usage: Usage
    ) -> None:
        self._context, self._ledger, self._model, self._client = context, sender.ledger, model, sender.client
        self._sender, self._state, self._usage = sender, state, usage

    def take(self, batch: OpenBatch, sent: Sent) -> int:
        """Take all results of an ended batch and close it. Returns the number of vectors.

        Raises:
            MissingRequirementError: its requests failed for lack of money or access; the vectors received are kept.
            BadAnswerError: it brought nothing but refusals.
            TransientError: its files cannot be read now; the batch is kept for the next time.
        """
        awaited = texts_of(self._ledger, batch.key)
        problem: KbjobsError | None = None
        gained = 0
        if awaited:
            refused: list[BatchLine] = []
            gained = self._take_vectors(batch, sent, awaited, refused)
            problem = self._sort(batch, sent, awaited, refused, gained)
            self._state.looks = 0
            give_up_texts(self._ledger, batch.key, self._state.fact())
        self.tidy(batch, sent)
        if problem is not None:
            raise problem
        return gained

    def tidy(self, batch: OpenBatch, sent: Sent) -> None:
        """Remove a batch's files, here and at the server, and forget it."""
        for file in dict.fromkeys(filter(None, (sent.file, sent.output, sent.errors))):
            self._client.delete(file, self._context.log)
        crash_point("batch.deleted")
        self._sender.forget(batch.key)

    def _take_vectors(self, batch: OpenBatch, sent: Sent, awaited: dict[str, int], refused: list[BatchLine]) -> int:
        """Commit the vectors of the output file; ``awaited`` keeps the texts that are not in it."""
        rows: list[tuple[str, bytes]] = []
        tokens, gained = 0, 0

        def commit() -> None:
            nonlocal tokens, gained
            if rows:
                take_vectors(self._ledger, batch.key, self._model.id, rows, [self._usage.add(len(rows), tokens)])
                crash_point("batch.taken")
                self._context.saved(len(rows))
                gained, tokens = gained + len(rows), 0
                rows.clear()
            self._context.check()

        for line in self._lines(batch, sent.output, "output", awaited):
            counted = awaited.pop(line.text_hash)
            if line.outcome is Outcome.VECTOR and line.vector is not None:
                rows.append((line.text_hash, np.ascontiguousarray(line.vector, dtype="<f4").tobytes()))
                tokens += counted if line.tokens is None else line.tokens
            else:
                refused.append(line)
            if len(rows) >= COMMIT:
                commit()
        commit()
        return gained

    def _sort(
        self, batch: OpenBatch, sent: Sent, awaited: dict[str, int], refused: list[BatchLine], gained: int
    ) -> KbjobsError | None:
        """Record permanent and transient failures. Returns the error that ends the job, if any."""
        problem: KbjobsError | None = None
        asked = len(awaited) + len(refused)
        transient: list[BatchLine] = []
        for line in self._lines(batch, sent.errors, "errors", awaited):
            del awaited[line.text_hash]
            if (wanting := self._find_wanting(line, sent)) is not None:
                problem = problem or wanting
            elif line.outcome is Outcome.PASSING:
                transient.append(line)
            elif line.outcome is not Outcome.UNDONE:
                refused.append(line)
        if not gained and REFUSED_IN_A_ROW <= len(refused) == asked:
            return problem or BadAnswerError(
                f"it refused all {len(refused)} passages of a batch{self._client.quote(refused[0].says)}"
            )
        # If nothing at all came back, the passages are not to blame, and nothing is learned about them.
        blamed = transient if gained or len(transient) < REFUSED_IN_A_ROW else []
        self._note_failures(sent, blamed, refused, awaited)
        return problem

    def _find_wanting(self, line: BatchLine, sent: Sent) -> KbjobsError | None:
        """Return the error for missing money or access if that kept a text from being embedded; else None."""
        if line.outcome is Outcome.NO_MONEY:
            says = self._client.quote(line.says)
            return MissingRequirementError(f"the OpenAI account has no money left{says}", ADD_MONEY)
        if line.outcome is Outcome.NO_ACCESS:
            return MissingRequirementError(
                f"the OpenAI API refuses the requests of batch {sent.id}",
                f"Check that {OPENAI_KEY} may use {self._model.name}. {SET_KEY} What was bought is kept.",
            )
        return None

    def _note_failures(
        self, sent: Sent, transient: list[BatchLine], refused: list[BatchLine], unanswered: dict[str, int]
    ) -> None:
        """Count the passages that were not embedded in the state, and log them."""
        log = self._context.log
        for line in transient:
            if not self._state.count_failure(line.text_hash):
                log.warning(
                    "not embedded: passage %s failed too often%s", line.text_hash, self._client.quote(line.says)
                )
        for line in refused:
            log.warning("not embedded: passage %s%s", line.text_hash, self._client.quote(line.says))
            self._state.failed.add(line.text_hash)
        if sent.status == "completed":
            for text_hash in unanswered:  # texts with no readable line in the files
                self._state.count_failure(text_hash)
        if unanswered:
            log.warning("batch %s is %s; %d of its passages have no answer", sent.id, sent.status, len(unanswered))

    def _lines(self, batch: OpenBatch, file: str | None, kind: str, awaited: dict[str, int]) -> Iterator[BatchLine]:
        """Yield the lines of a result file that answer for an awaited text; other lines are counted in the log."""
        if file is None:
            return
        path = self._sender.folder / f"{batch.key}.{kind}"
        self._sender.folder.mkdir(mode=0o700, exist_ok=True)
        most = (batch.size + SPARE_LINES) * LINE_BYTES
        if not self._client.download(file, path, most, self._context.check):
            self._context.log.warning(
                "file %s with the %s of batch %s is no longer at the server", file, kind, batch.batch
            )
            return
        unreadable = unknown = 0
        for content in _read_lines(path):
            try:
                line = read_line(content, self._model.dimension)
            except ValueError:
                unreadable += 1
                continue
            if line.text_hash in awaited:
                yield line
            else:
                unknown += 1
        if unreadable or unknown:
            self._context.log.warning(
                "the %s of batch %s: %d lines cannot be read, %d belong to no passage that is awaited",
                kind,
                batch.batch,
                unreadable,
                unknown,
            )


def _read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file; a line that is too long comes in pieces, which are unreadable."""
    with path.open("rb") as file:
        while line := file.readline(LINE_BYTES):
            if line.strip():
                yield line
