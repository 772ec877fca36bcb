"""Embed batch by batch, several at a time if the embedder gains by it; every vector that was paid for is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING

from kbjobs.context import Context
from kbjobs.embedding.embedder import Embedder, EmbeddingError, GivenUpError
from kbjobs.store.ledger_rows import MissingText
from kbjobs.system.crashpoints import crash_point

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    Vectors = NDArray[float32]

POLL_SECONDS = 0.2  # between two checks of whether to stop, while answers are awaited
MAX_AT_ONCE = 1_000  # calls, even if the embedder would take more

Batch = list[MissingText]
Keep = Callable[[Sequence[MissingText], "Vectors"], None]
"""Commits vectors; called in the thread that owns the ledger."""


class BatchEmbedding:
    """Embeds batches of texts and hands over each batch's vectors as soon as they are there.

    If a text fails, its batch is halved until the text is alone, so that the others are embedded. If the phase must
    stop, or anything fails, no further batch begins; the results of batches under way are awaited and kept.
    """

    def __init__(
        self,
        context: Context,
        embedder: Embedder,
        batches: Iterable[Batch],
        read: Callable[[Sequence[MissingText]], list[str]],
        keep: Keep,
    ) -> None:
        self.failed: list[str] = []
        """Hashes of the texts that could not be embedded."""
        self._context, self._embedder = context, embedder
        self._halves: deque[Batch] = deque()
        self._batches = iter(batches)
        self._read, self._keep = read, keep

    def run(self, on_done: Callable[[int], None]) -> None:
        """Embed all texts; ``on_done`` gets the number of further texts that are finished, and may raise to stop."""
        if self._embedder.in_flight > 1:
            self._run_concurrently(on_done)
            return
        while (batch := self._next()) is not None:
            crash_point("embed.before")
            texts = self._read(batch)
            on_done(self._commit(batch, partial(self._embedder.embed, texts)))

    def _next(self) -> Batch | None:
        """Return the next batch, made only now, since its size may depend on the answers so far; None at the end."""
        return self._halves.popleft() if self._halves else next(self._batches, None)

    def _run_concurrently(self, on_done: Callable[[int], None]) -> None:
        running: dict[Future[Vectors], Batch] = {}
        # The pool makes a thread only if none is idle, so there are never more threads than simultaneous calls.
        with ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="embed") as pool:
            try:
                while True:
                    at_once = min(self._embedder.in_flight, MAX_AT_ONCE)
                    while len(running) < at_once and (batch := self._next()) is not None:
                        crash_point("embed.before")
                        running[pool.submit(self._embedder.embed, self._read(batch))] = batch
                    if not running:
                        return
                    for future in wait(running, POLL_SECONDS, FIRST_COMPLETED).done:
                        on_done(self._commit(running.pop(future), future.result))
                    self._context.check()
            except BaseException as error:  # noqa: BLE001 — raised below
                ended = error
            # Outside the handler: otherwise an error raised here would carry the abandoned request's error as its
            # context.
            self._embedder.interrupt()
            cause = self._drain(running)
        raise cause if isinstance(ended, GivenUpError) and cause is not None else ended

    def _drain(self, running: dict[Future[Vectors], Batch]) -> Exception | None:
        """Keep the vectors of batches under way.

        Their errors are only logged, since the phase ends with an error already.
        Returns the first error that is not of an abandoned request: it is the cause if the phase ends with such a
        request.
        """
        cause: Exception | None = None
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                batch = running.pop(future)
                try:
                    self._commit(batch, future.result)
                except Exception as error:  # noqa: BLE001 — later batches may still be kept
                    self._context.log.warning("%d texts that were on their way have no vectors: %s", len(batch), error)
                    cause = cause or (None if isinstance(error, GivenUpError) else error)
        return cause

    def _commit(self, batch: Batch, result: Callable[[], Vectors]) -> int:
        """Commit a batch's vectors. Returns how many of its texts are finished, embedded or failed."""
        try:
            self._keep(batch, result())
        except EmbeddingError as error:
            return self._commit_failure(batch, error)
        return len(batch)

    def _commit_failure(self, batch: Batch, error: EmbeddingError) -> int:
        log = self._context.log
        if error.vectors is not None:
            good = [row for row in range(len(batch)) if row not in error.unusable]
            self._keep([batch[row] for row in good], error.vectors[good])
            failed = sorted(error.unusable)
        elif len(batch) == 1:
            failed = [0]
        else:
            log.warning("a batch of %d texts failed (%s); trying its halves", len(batch), error.message)
            middle = len(batch) // 2
            self._halves.extendleft((batch[middle:], batch[:middle]))
            return 0
        texts = [batch[row] for row in failed]
        for row, text, content in zip(failed, texts, self._read(texts), strict=True):
            log.warning("not embedded: %s…: %s", content[:60], error.reasons.get(row, error.message))
            self.failed.append(text.text_hash)
        return len(batch)
