"""Write a collection while the next passages are being embedded."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kbjobs.store.ledger_rows import Record
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.chroma_server import ServerAwayError
from kbjobs.vectors.collection import BATCH
from kbjobs.vectors.indexed import Indexed
from kbjobs.vectors.server_copies import MAX_IN_PLACE
from kbjobs.vectors.verified import begin_copy

LOOK = 0.02
"""Seconds after which a writer without time checks again."""


class CollectionWriter:
    """Copies records into the working copy of a collection while the next ones are being embedded.

    The ledger is the truth: if Chroma fails, writing ends with a warning, and publishing completes the collection from
    the ledger.

    Args:
        indexed: the model whose collection is written.
        changed: the approximate number of records.
        log: receives failures.
        may_write: whether there is time for writing now. If there is none for long, records are left to publishing.
    """

    def __init__(self, indexed: Indexed, changed: int, log: logging.Logger, may_write: Callable[[], bool]) -> None:
        self._indexed = indexed
        self._copies = indexed.copies
        self._is_given_up = False
        try:
            begin_copy(indexed, self._copies, empty=False)
            if self._copies.is_in_place and changed > MAX_IN_PLACE * indexed.ledger.count_texts(indexed.profile):
                self._copies.begin(empty=True)
            # Changes of a live collection are written at the end, all at once.
            self._is_given_up = self._copies.is_in_place
        except ServerAwayError as error:
            log.warning("%s; its collection is written at the end", error.message)
            self._is_given_up = True
        self._log, self._may_write = log, may_write
        self._is_complete = threading.Event()
        self._queue: queue.Queue[list[Record] | None] = queue.Queue(maxsize=32)
        self._is_ending = False
        self._is_awaited = False
        self._thread = threading.Thread(target=self._write, name="collection-writer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self._may_write():
            self._is_given_up = True  # the resumed run writes the missing records
        self._is_complete.set()
        self._queue.put(None)
        self._thread.join()
        if self._indexed.server is not None:
            self._indexed.server.close()

    def put(self, records: list[Record]) -> None:
        """Hand over records. Waits if the writer is far behind, or skips them if it has no time."""
        if self._is_given_up:
            return
        self._is_awaited = self._may_write()
        try:
            self._queue.put(records, block=self._is_awaited)
        except queue.Full:
            self._log.debug("%d records are left to publishing", len(records))
        finally:
            self._is_awaited = False

    def _has_time(self) -> bool:
        # A caller that waits in put() sends no requests meanwhile, so may_write() might never become true again.
        return self._is_awaited or self._may_write()

    def _gather(self) -> list[Record] | None:
        """Collect waiting records, up to the size that is quickest to write; None when no more will come."""
        if self._is_ending:
            return None
        gathered: list[Record] = []
        while len(gathered) < BATCH:
            records = self._queue.get()
            if records is None:
                self._is_ending = True
                break
            gathered += records
        return gathered

    def _write(self) -> None:
        if self._is_given_up:
            return
        try:
            with self._copies.open_building() as collection:
                while (records := self._gather()) is not None:
                    while not self._has_time() and not self._is_complete.wait(LOOK):
                        pass
                    if self._is_given_up:
                        continue
                    collection.upsert(records)
                    if (contents := self._indexed.contents.ids) is not None:
                        contents.update(record.id for record in records)
                    crash_point("collection.upserted")
        except Exception as error:  # noqa: BLE001 — whatever it is, embedding continues and publishing repairs the collection
            self._indexed.contents.ids = None
            self._log.warning(
                "the working copy of the collection cannot be written now (%s); it is brought up to date at the end",
                error,
            )
            while not self._is_ending:
                self._is_ending = self._queue.get() is None
