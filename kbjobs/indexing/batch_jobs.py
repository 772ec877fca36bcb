"""Embed through the Batch API: missing passages are sent, the job gives way to others, and looks again later.

Everything that must not be lost is in the ledger (see :mod:`kbjobs.store.api_batches`), whichever job sent it: any run
on the same source and model takes the results of open batches, and buys only passages that no open batch contains.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from kbjobs.context import Context
from kbjobs.embedding.embedder import Embedder
from kbjobs.embedding.openai_batches import MAX_ENQUEUED, MAX_REQUESTS, BatchClient, NoBatchApiError, Sent
from kbjobs.embedding.openai_client import ADD_MONEY, RefusedRequestError, is_out_of_money
from kbjobs.embedding.spending import SpendingLimitError, SpendingWatch
from kbjobs.errors import JobWaits, MissingRequirementError, TransientError
from kbjobs.formatting import counted
from kbjobs.indexing.batch_sending import BatchSender
from kbjobs.indexing.batch_state import BatchState
from kbjobs.indexing.batch_taking import BatchTaker
from kbjobs.indexing.spans import EMBED, SEND
from kbjobs.indexing.usage import Usage
from kbjobs.net.backoff import LOOK
from kbjobs.store.api_batches import OpenBatch, has_batches, list_batches, texts_out
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import IndexedModel, MissingText

BATCH_TOKENS = 1_000_000
"""Tokens of a batch, at most: they cost a cent. A new account's queue holds three such batches, and a failure loses
little."""

MAX_OPEN = 50
MAX_REFUSALS = 3
LIMIT_SECONDS = 86_400.0  # for which the account's token limit is trusted
TOKEN_LIMIT = "token_limit_exceeded"  # noqa: S105 — the code of a batch whose tokens exceed the queue
FORGET_SECONDS = 2 * 86_400.0
"""Age at which a batch that the server does not know is given up: its window of a day is long over."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How a run uses batches.

    ``connect`` opens the API; ``sends`` says whether missing passages are sent to it; ``spending`` records their cost.
    """

    connect: Callable[[], BatchClient]
    sends: bool
    spending: SpendingWatch | None = None


class Batches:
    """The batches of one model in one run. A context, which closes the connections at its end."""

    def __init__(
        self, context: Context, ledger: Ledger, model: IndexedModel, embedder: Embedder, bought: Usage, how: Batching
    ) -> None:
        self._context, self._ledger, self._model, self.sends = context, ledger, model, how.sends
        self._first = context.settings.number("batch_poll_seconds")
        self._state = BatchState.read(ledger, model.key, context.job_id)
        self._client, self._spending = how.connect(), how.spending
        self._sender = BatchSender(context, ledger, self._client, model.key, model.name, self._first)
        self._taker = BatchTaker(context, model, self._sender, self._state, bought)
        self._under_way: dict[str, Sent] = {}
        self._has_ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="batches", daemon=True)
        self._has_changed = False  # whether the last look found anything but batches in progress

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_ended.set()
        self._watcher.join()
        self._client.close()
        if isinstance(error, TransientError):
            self._context.check()  # the request was abandoned because the job must stop

    def _watch(self) -> None:
        """Abandon requests that wait to be repeated if the job must stop."""
        while not self._has_ended.wait(LOOK):
            if self._context.is_stopping():
                self._client.interrupt()
                return

    @property
    def failed(self) -> set[str]:
        """Hashes of the texts that could not be embedded."""
        return self._state.failed

    # -- in ---------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Look at all open batches, and take the results of those that have ended.

        Raises:
            MissingRequirementError: the key, the money or the server of the batches is missing.
            TransientError: the API does not answer now, or batches bring no vectors.
            KbjobsError: the API refuses the batches.
        """
        self._find_unsent()
        self._under_way, self._has_changed = {}, False
        for batch in list_batches(self._ledger, self._model.key):
            self._context.check()
            if batch.batch is None:
                self._has_changed = True
                continue
            sent = self._client.retrieve(batch.batch)
            if sent is not None and sent.is_under_way:
                self._under_way[batch.key] = sent
                continue
            self._has_changed = True
            if sent is None:
                self._give_up_unknown(batch)
            elif sent.status == "failed":
                self._take_failure(batch, sent)
            else:
                self._take(batch, sent)

    def _take(self, batch: OpenBatch, sent: Sent) -> None:
        before = self._state.failures
        gained = self._taker.take(batch, sent)
        self._context.log.info("batch %s is %s: %d vectors", sent.id, sent.status, gained)
        if gained or not batch.texts or self._state.failures > before:
            self._state.refusals = self._state.holds = 0
        else:
            self._count_refusal(f"batch {sent.id} is {sent.status} and has brought nothing")

    def _take_failure(self, batch: OpenBatch, sent: Sent) -> None:
        """Handle a batch that failed as a whole: none of its texts was embedded, so they are missing again."""
        codes = {code for code, _ in sent.problems}
        says = "".join(self._client.quote(message) for _, message in sent.problems[:1])
        if TOKEN_LIMIT in codes:
            self._learn_limit(batch, " ".join(message for _, message in sent.problems))
            self._state.hold(self._first)
            self._state.save(self._ledger)
        self._taker.tidy(batch, sent)
        if TOKEN_LIMIT in codes:
            self._context.log.warning("the account's queue is full%s; the passages are sent again later", says)
        elif is_out_of_money(*codes):
            raise MissingRequirementError(f"the OpenAI account has no money left{says}", ADD_MONEY)
        else:
            self._count_refusal(f"batch {sent.id} failed ({', '.join(sorted(codes)) or 'no reason given'}){says}")

    def _count_refusal(self, what: str) -> None:
        self._context.log.warning("%s; its passages are sent again", what)
        self._state.refusals += 1
        is_too_often = self._state.refusals >= MAX_REFUSALS
        if is_too_often:
            self._state.refusals = 0
        self._state.save(self._ledger)
        if is_too_often:
            raise TransientError(
                f"{MAX_REFUSALS} batches in a row brought no vectors; the last: {what}",
                "What was bought is kept. Run the same again later, or without --batch-api.",
            )

    def _find_unsent(self) -> None:
        """Find batches that were created although their names could not be recorded."""
        batches = list_batches(self._ledger, self._model.key)
        unsent = [batch for batch in batches if batch.batch is None]
        asked = [batch for batch in unsent if batch.asked_at is not None]
        found: dict[str, Sent] = {}
        if asked:
            self._sender.wait_out(max(batch.asked_at or 0.0 for batch in asked))
            try:
                found = self._client.find([batch.key for batch in asked], min(batch.made_at for batch in asked))
            except NoBatchApiError:
                for batch in asked:
                    self._give_up_unknown(batch)
                return
        for batch in unsent:
            if batch.key in found:
                self._sender.note(batch, found[batch.key])
            elif not self.sends:
                if batch.file is not None:
                    self._client.delete(batch.file, self._context.log)
                self._sender.forget(batch.key)

    def _give_up_unknown(self, batch: OpenBatch) -> None:
        """Handle a batch that the server does not know: the server or the key has changed, or the batch is old."""
        if time.time() - batch.made_at < FORGET_SECONDS:
            since = datetime.fromtimestamp(batch.made_at).astimezone()
            raise MissingRequirementError(
                f"the server does not know batch {batch.batch or batch.key} of this source,"
                f" sent {since:%Y-%m-%d %H:%M}",
                "Use the key, the project and the OPENAI_BASE_URL that it was sent with: what it has embedded is paid"
                f" for. From {since + timedelta(seconds=FORGET_SECONDS):%Y-%m-%d %H:%M} on it is given up.",
            )
        self._context.log.warning("batch %s is unknown to the server: given up", batch.batch or batch.key)
        self._sender.forget(batch.key)

    # -- out --------------------------------------------------------------------------------------

    def without_out(self, missing: Sequence[MissingText]) -> list[MissingText]:
        """Filter out texts that an open batch contains, or that failed in a batch for good."""
        out = texts_out(self._ledger, self._model.key)
        return [text for text in missing if text.text_hash not in out and text.text_hash not in self.failed]

    def send(self, missing: Sequence[MissingText]) -> None:
        """Send missing texts that no batch contains, as many as there is room for.

        Raises:
            NoBatchApiError, RefusedRequestError, TransientError: as :meth:`BatchSender.send` does.
        """
        for batch in list_batches(self._ledger, self._model.key):
            if batch.batch is None:
                self._buy(batch)
        left = self.without_out(missing)
        count = len(left)
        while left and (room := self._room()):
            batch = self._sender.plan(left, min(room, self._spending.batch_room() if self._spending else room))
            left = left[batch.texts :]
            self._buy(batch)
            self._context.progress(count - len(left), count, "chunks", "sending batches", SEND, eta_matters=False)

    def _buy(self, batch: OpenBatch) -> None:
        """Send a batch, unless it would exceed a limit on spending: then it is forgotten."""
        if self._spending is None:
            self._note_sent(batch.key, self._sender.send(batch))
            return
        try:
            self._spending.buy_batch(batch.key, batch.tokens)
        except SpendingLimitError:
            if batch.asked_at is None:  # it cannot have been made
                self._sender.forget(batch.key)
            raise
        try:
            sent = self._sender.send(batch)
        except (NoBatchApiError, RefusedRequestError):
            self._spending.give_back_batch(batch.key)
            raise
        if sent is None:
            self._spending.give_back_batch(batch.key)
        self._note_sent(batch.key, sent)

    def _note_sent(self, key: str, sent: Sent | None) -> None:
        self._state.looks = 0
        if sent is not None:
            self._under_way[key] = sent

    def _room(self) -> float:
        """The most tokens of the next batch; 0 if none may be sent now."""
        batches = list_batches(self._ledger, self._model.key)
        texts, tokens = sum(batch.texts for batch in batches), sum(batch.tokens for batch in batches)
        if self._state.is_held() or len(batches) >= MAX_OPEN or texts + MAX_REQUESTS > MAX_ENQUEUED:
            return 0.0
        limit, since = json.loads(self._ledger.fact(self._limit_fact) or "[null, 0]")
        if limit is None or time.time() - since > LIMIT_SECONDS:
            return BATCH_TOKENS
        # The API counts slightly differently. If no batch is open, something is sent in any case.
        room = limit * 0.95 - tokens
        return min(BATCH_TOKENS, room if batches else max(room, 1.0)) if room > limit / 4 or not batches else 0.0

    @property
    def _limit_fact(self) -> str:
        return f"batch limit {self._model.key}"

    def _learn_limit(self, batch: OpenBatch, message: str) -> None:
        """Learn the limit that the failure names, as in "Limit: 3,000,000 enqueued tokens"; else half of this batch."""
        found = re.search(r"Limit: ([0-9][0-9,]{0,20}) enqueued tokens", message)
        others = len(list_batches(self._ledger, self._model.key)) > 1
        if found:
            limit = max(1, int(found[1].replace(",", "")))
        elif not others:
            limit = max(1, batch.tokens // 2)
        else:
            return
        self._ledger.set_fact(self._limit_fact, json.dumps([limit, time.time()]))

    # -- waiting ----------------------------------------------------------------------------------

    def wait(self, missing: Sequence[MissingText], total: int) -> None:
        """Raise JobWaits if missing texts are in open batches, or are still to send."""
        out = texts_out(self._ledger, self._model.key)
        keys = {out[text.text_hash] for text in missing if text.text_hash in out}
        has_more = self.sends and bool(self.without_out(missing))
        if keys or has_more:
            self._give_way({"done": total - len(missing), "total": total, "batches": len(keys), "has_more": has_more})

    def wait_on(self, noted: dict[str, Any]) -> None:
        """Raise JobWaits again with the same checkpoint if nothing has happened since."""
        if not self._has_changed and (self._state.is_held() or not noted["has_more"]):
            self._give_way(noted)

    def _give_way(self, noted: dict[str, Any]) -> None:
        pause = self._state.pause(self._first)
        self._state.save(self._ledger)
        done = noted["done"] + sum(sent.completed for sent in self._under_way.values())
        look = datetime.now().astimezone() + timedelta(seconds=pause)
        what = counted(noted["batches"], "batch", "batches") if noted["batches"] else "room in the account's queue"
        message = f"waiting for {what}, next look at {look:%H:%M:%S}"
        self._context.save_checkpoint(noted)
        self._context.progress(min(done, noted["total"]), noted["total"], "chunks", message, EMBED, eta_matters=False)
        raise JobWaits(message, pause)


def was_waiting(context: Context) -> bool:
    """Whether the phase raised JobWaits before, and resumes now."""
    return isinstance(context.checkpoint, dict) and "batches" in context.checkpoint


def look_again(context: Context, embedder: Embedder, how: Batching) -> None:
    """Resume a waiting job without reading the source: take results, and raise JobWaits if it must keep waiting.

    Args:
        context: the job's context, with the checkpoint from when it began to wait.
        embedder: the embedder of the model.
        how: how the run uses batches.

    Raises:
        JobWaits: all batches are still in progress.
        KbjobsError: as :meth:`Batches.collect` does.
    """
    ledger = Ledger(context.source.ledger)
    try:
        model = next((model for model in ledger.models() if model.key == embedder.model_key), None)
        if model is None or not has_batches(ledger, model.key):
            return
        with Batches(context, ledger, model, embedder, Usage.read(ledger, embedder, context.job_id), how) as batches:
            batches.collect()
            batches.wait_on(context.checkpoint)
    finally:
        ledger.close()
