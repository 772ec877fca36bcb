"""Writing a collection while the next passages are being embedded."""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from kbjobs.crashpoints import crash_point
from kbjobs.store.ledger_rows import Record
from kbjobs.vectors.collection import BATCH, Collection
from kbjobs.vectors.publishing import WorkingCopy


class CollectionWriter:
    """Copies records into the working copy of a collection while the next ones are being embedded.

    The ledger is the truth: where Chroma fails, writing ends with a warning, and publishing makes the
    collection whole from the ledger.
    """

    def __init__(self, copies: WorkingCopy, log: logging.Logger) -> None:
        self._path: Path = copies.begin(empty=False)
        self._log = log
        self._queue: queue.Queue[list[Record] | None] = queue.Queue(maxsize=32)
        self._is_ending = False
        self._thread = threading.Thread(target=self._write, name="collection-writer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()

    def put(self, records: list[Record]) -> None:
        """Hand over records; waits where the writer is far behind."""
        self._queue.put(records)

    def _gather(self) -> list[Record] | None:
        """The records that wait, up to what is quickest to write at once; None when there will be no more."""
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
        try:
            with Collection(self._path, create=True) as collection:
                while (records := self._gather()) is not None:
                    collection.upsert(records)
                    crash_point("collection.upserted")
        except Exception as error:  # noqa: BLE001 — whatever it is, the embedding goes on and publishing heals
            self._log.warning("the working copy is left as it is: %s", error)
            while not self._is_ending:
                self._is_ending = self._queue.get() is None
