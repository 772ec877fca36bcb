"""Send passages in batches: each batch is recorded first, and none is created twice.

A batch's life in order: its file is on disk, its row in the ledger, its file at the server, the batch created there,
the server's name of it in the ledger. If a row has no such name, after a kill or a missing answer, the sender waits for
requests that may still be on their way, and searches the server's list for the batch's key before it creates it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from kbjobs.context import Context
from kbjobs.embedding.batch_lines import write_request
from kbjobs.embedding.openai_batches import MAX_BYTES, MAX_REQUESTS, BatchClient, NoBatchApiError, Sent
from kbjobs.embedding.openai_client import RefusedRequestError
from kbjobs.errors import TransientError
from kbjobs.net.backoff import sleep
from kbjobs.store.api_batches import (
    OpenBatch,
    close_batch,
    list_batches,
    note_asking,
    note_batch,
    note_file,
    open_batch,
)
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import MissingText
from kbjobs.system.crashpoints import crash_point
from kbjobs.system.files import atomic_write

TRIES = 5
"""How often creating a batch is tried after transient errors."""

PAGE = 500  # texts read from the ledger at a time


class BatchSender:
    """Sends the batches of one model from one ledger. ``settle``: seconds within which a lost request still arrives."""

    def __init__(
        self, context: Context, ledger: Ledger, client: BatchClient, model_key: str, model_name: str, settle: float
    ) -> None:
        self._context, self.ledger, self.client = context, ledger, client
        self._model_key, self._model_name, self._settle = model_key, model_name, settle
        self.folder = context.source.batches
        self._is_tidy = False

    def plan(self, texts: Sequence[MissingText], max_tokens: float) -> OpenBatch:
        """Record a batch of the first texts, as many as fit, but at least one. Nothing is sent."""
        if not self._is_tidy:
            self._tidy()
        key = uuid.uuid4().hex
        size = tokens = count = 0
        with atomic_write(self.path(key), self.folder / f"{key}.part") as file:
            for line, text in self._lines(texts):
                is_full = count >= MAX_REQUESTS or size + len(line) > MAX_BYTES or tokens + text.tokens > max_tokens
                if count and is_full:
                    break
                file.write(line)
                size, tokens, count = size + len(line), tokens + text.tokens, count + 1
        rows = [(text.text_hash, text.tokens) for text in texts[:count]]
        batch = open_batch(self.ledger, key, self._model_key, rows)
        crash_point("batch.planned")
        return batch

    def path(self, key: str) -> Path:
        """The path of a batch's file."""
        return self.folder / f"{key}.jsonl"

    def _lines(self, texts: Sequence[MissingText]) -> Iterator[tuple[bytes, MissingText]]:
        for start in range(0, len(texts), PAGE):
            page = texts[start : start + PAGE]
            for text, content in zip(page, self.ledger.texts([one.chunk for one in page]), strict=True):
                yield write_request(text.text_hash, content, self._model_name), text

    def _tidy(self) -> None:
        """Remove files of unknown batches, left by a kill."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        known = {batch.key for batch in list_batches(self.ledger, self._model_key)}
        for path in self.folder.iterdir():
            if path.name.partition(".")[0] not in known:
                path.unlink()
        self._is_tidy = True

    # -- out --------------------------------------------------------------------------------------

    def send(self, batch: OpenBatch) -> Sent | None:
        """Make sure that the batch is created at the server, once; None if there is no file to create it from.

        Raises:
            NoBatchApiError: the server has no Batch API; the batch is forgotten.
            RefusedRequestError: the API refuses the batch.
            TransientError: no answer, or one that says to try again, after all repetitions.
        """
        file, asked_at, failure = batch.file, batch.asked_at, TransientError("the batch could not be made")
        is_old = file is not None
        for tries in range(TRIES):
            if asked_at is not None and (found := self._look_for(batch, asked_at, tries)) is not None:
                return self.note(batch, found)
            note_asking(self.ledger, batch.key)
            try:
                file = file or self._bring_up(batch, was_asked=asked_at is not None)
                if file is None:
                    close_batch(self.ledger, batch.key)
                    return None
                asked_at = time.time()
                sent = self.client.create(file, batch.key)
                crash_point("batch.created")
            except NoBatchApiError:
                self.forget(batch.key)
                raise
            except TransientError as error:
                asked_at, failure = time.time(), error
                self._context.log.warning("%s; looking for the batch before it is sent again", error.message)
                continue
            except RefusedRequestError:
                if not is_old:
                    raise
                sent = None
            if sent is not None:
                return self.note(batch, sent)
            if not is_old:
                self.forget(batch.key)
                raise NoBatchApiError
            # An old file may be gone: the server keeps none forever.
            file, is_old = None, False
            note_file(self.ledger, batch.key, None)
        raise failure

    def _look_for(self, batch: OpenBatch, asked_at: float, tries: int) -> Sent | None:
        """Find the batch at the server, in case an earlier request arrived."""
        self.wait_out(asked_at, 2.0**tries)
        return self.client.find([batch.key], batch.made_at).get(batch.key)

    def _bring_up(self, batch: OpenBatch, was_asked: bool) -> str | None:
        """Return the server's name of the batch's input, uploading it if needed; None if there is no file to upload."""
        path = self.path(batch.key)
        if not path.exists():
            return None
        file = self.client.find_file(path.name, path.stat().st_size, batch.made_at) if was_asked else None
        if file is None:
            file = self.client.upload(path, path.name)
            crash_point("batch.uploaded")
        note_file(self.ledger, batch.key, file)
        return file

    def note(self, batch: OpenBatch, sent: Sent) -> Sent:
        """Record the server's name of a batch."""
        note_batch(self.ledger, batch.key, sent.id, sent.file)
        crash_point("batch.noted")
        self._context.log.info("batch %s: %d passages, %d tokens", sent.id, batch.texts, batch.tokens)
        return sent

    def wait_out(self, asked_at: float, factor: float = 1.0) -> None:
        """Wait until a request sent at that moment has arrived, if it ever does."""
        pause = self._settle * factor
        sleep(min(pause, max(0.0, asked_at + pause - time.time())), self._context.check)

    def forget(self, key: str) -> None:
        """Forget a batch, and remove its local files."""
        close_batch(self.ledger, key)
        crash_point("batch.closed")
        for path in self.folder.glob(f"{key}.*"):
            path.unlink()
