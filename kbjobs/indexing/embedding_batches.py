"""Embedding batch by batch, several at a time where the embedder gains by it; nothing that was bought is lost."""

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

POLL_SECONDS = 0.2  # between two looks whether to stop, while answers are awaited
MAX_AT_ONCE = 1_000  # calls, whatever the embedder would take

Batch = list[MissingText]
Keep = Callable[[Sequence[MissingText], "Vectors"], None]
"""Commits vectors; called in the thread that owns the ledger."""


class BatchEmbedding:
    """Embeds batches of texts and hands each batch's vectors on as soon as they are there.

    A batch in which a text fails is halved until the text stands alone: the others are embedded. When the phase
    is to stop, or anything fails, no batch is begun any more, and those under way are awaited and kept.
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
        """Embed all; ``on_done`` is told of so many more texts that are done with, and may raise to stop."""
        if self._embedder.in_flight > 1:
            self._run_concurrently(on_done)
            return
        while (batch := self._next()) is not None:
            crash_point("embed.before")
            texts = self._read(batch)
            on_done(self._commit(batch, partial(self._embedder.embed, texts)))

    def _next(self) -> Batch | None:
        """The next batch, made only now: its size may depend on the answers so far. None at the end."""
        return self._halves.popleft() if self._halves else next(self._batches, None)

    def _run_concurrently(self, on_done: Callable[[int], None]) -> None:
        running: dict[Future[Vectors], Batch] = {}
        # A thread is made for a call when none is idle: there are never more than calls at a time.
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
            # Outside the handler: an error found here would carry the one that was given up as its context.
            self._embedder.interrupt()
            cause = self._drain(running)
        raise cause if isinstance(ended, GivenUpError) and cause is not None else ended

    def _drain(self, running: dict[Future[Vectors], Batch]) -> Exception | None:
        """Keep what is still on its way. Its errors are no news: the phase is ending with one already.

        Returns the first that is not of a request that was given up: the cause, where the phase ends with such a one.
        """
        cause: Exception | None = None
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                batch = running.pop(future)
                try:
                    self._commit(batch, future.result)
                except Exception as error:  # noqa: BLE001 — the next ones may be kept all the same
                    self._context.log.warning("%d texts that were on their way have no vectors: %s", len(batch), error)
                    cause = cause or (None if isinstance(error, GivenUpError) else error)
        return cause

    def _commit(self, batch: Batch, result: Callable[[], Vectors]) -> int:
        """Take a batch's vectors; returns how many of its texts are done with, well or not."""
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
