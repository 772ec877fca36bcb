"""Make a Pinecone namespace equal to a source's ledger: list, compare, send, delete, verify.

Sending comes before deleting, so that a search never finds less than before. Each answered request is in a checkpoint
before the next one counts; sending a record twice changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from kbjobs.config.prices import Price
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.embedder import GivenUpError
from kbjobs.embedding.online_models import OnlineModel
from kbjobs.errors import KbjobsError, MissingRequirementError
from kbjobs.formatting import counted
from kbjobs.indexing.pinecone_progress import SyncProgress
from kbjobs.indexing.pinecone_summary import (
    Seen,
    SyncedSource,
    format_left_out,
    format_plan,
    make_result,
    name_index,
    weigh,
)
from kbjobs.net.backoff import sleep
from kbjobs.store import publication as store
from kbjobs.store.ledger import Ledger
from kbjobs.system.crashpoints import crash_point
from kbjobs.vectors.chroma_places import OWNER, owner_of
from kbjobs.vectors.pinecone_diff import (
    MAX_DELETED,
    PineconeDiff,
    compare_records,
    read_wanted_records,
)
from kbjobs.vectors.pinecone_index import AT_ONCE, MAX_IDS, PineconeIndex
from kbjobs.vectors.pinecone_places import note_place
from kbjobs.vectors.pinecone_records import (
    Packing,
    PineconeRecord,
    passage_of,
    record_prefix,
    write_record,
    write_units,
)
from kbjobs.vectors.pinecone_requests import UnknownIndexError

LIST, SEND, DELETE, VERIFY = (0.0, 0.1), (0.1, 0.9), (0.9, 0.95), (0.95, 1.0)
MANY = 2000  # records from which a listing is requested in sixteen parts at once
HEX_DIGITS = "0123456789abcdef"
LOOK = 0.2  # seconds after which a waiting thread checks whether the job must stop
READY_SECONDS = 300.0  # to wait for a new index
NOBODY = "nobody"  # an owner without records
FIRST_PAUSE, MAX_PAUSE = 0.25, 15.0  # seconds between two looks at the index

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """``create``: create the index if it is missing; ``allow_delete``: delete however many records are gone."""

    create: bool = False
    allow_delete: bool = False


def sync(context: Context, index: PineconeIndex, model: OnlineModel, options: SyncOptions) -> PhaseResult:
    """Send new and changed records, and delete obsolete ones. The caller holds the source's lock.

    Args:
        context: the job's context.
        index: the index.
        model: the model whose vectors are sent.
        options: what the sync may do.
    """
    with Ledger(context.source.ledger) as ledger:
        source = _read(context, ledger, model, owner_of(ledger))
        if options.create:
            _create(context, index)
        there, others = _list(context, index, source)
        target = str(index.target)
        progress = SyncProgress.read(context.checkpoint, target, source.wanted)
        # Records that were just sent may not be listed yet.
        diff = compare_records(source.wanted, there | (progress.sent(source.wanted) if progress else set()))
        if diff.deletes_much and not options.allow_delete:
            raise KbjobsError(
                f"{len(diff.gone):,} of {counted(diff.there, 'passage')} in {target} are no longer in the ledger, more"
                f" than {MAX_DELETED:.0%}; nothing was changed there",
                "If you want to delete them, run it again with --allow-delete.",
            )
        if progress is None:
            progress = SyncProgress(target, source.wanted.state, diff.numbers)
        context.save_checkpoint(progress.as_dict())
        note_place(ledger, index.target)
        crash_point("pinecone.planned")
        _send(context, index, source, diff, progress)
        _delete(context, index, diff, progress)
        is_touched = bool(diff.to_write or diff.to_remove or progress.pushed or progress.deleted)
        unseen, lingering = _verify(context, index, source) if is_touched else (0, 0)
        crash_point("pinecone.verified")
        return make_result(context, index, source, progress, Seen(others, unseen, lingering))


def remove_records(context: Context, index: PineconeIndex) -> int:
    """Delete all records of the source's ledger from the namespace. Returns how many there were."""
    with Ledger(context.source.ledger) as ledger:
        owner = ledger.fact(OWNER)
    if owner is None:
        return 0
    try:
        names = sorted(index.list_ids(record_prefix(owner)))
    except UnknownIndexError:
        return 0  # the index is gone, and its records with it
    for start in range(0, len(names), MAX_IDS):
        context.progress(start, len(names), "records", "deleting from Pinecone", (0.0, 0.0), eta_matters=False)
        index.delete(names[start : start + MAX_IDS])
        crash_point("pinecone.removed")
    return len(names)


def forecast_sync(context: Context, index: PineconeIndex, model: OnlineModel) -> PhaseResult:
    """Forecast what :func:`sync` would do and cost; nothing is written, there or here.

    Args:
        context: the job's context.
        index: the index.
        model: the model whose vectors would be sent.
    """
    with Ledger(context.source.ledger) as ledger:
        # A ledger without an owner's name has no records there.
        source = _read(context, ledger, model, ledger.fact(OWNER) or NOBODY)
        try:
            (there, _), is_there = _list(context, index, source), True
        except UnknownIndexError:
            there, is_there = set(), False
        diff = compare_records(source.wanted, there)
        writes, cut, mean = weigh(source, diff)
    price = Price.read(context.settings, "pinecone.price", "write units")
    deletes = write_units(mean * len(diff.to_remove))
    counts = {
        "dry_run": True,
        **name_index(index),
        **diff.numbers,
        "cut": cut,
        "without_vector": source.without_vector,
        "write_units": writes + deletes,
        "price_usd": round(price.of(writes + deletes), 8),
        "price_of": price.since,
        "needs_allow_delete": diff.deletes_much,
        "needs_create_index": not is_there,
    }
    summary = (
        f"dry run, nothing was changed: {index.target}: {format_plan(diff.numbers)};"
        f" {counted(writes + deletes, 'write unit')}, {price.describe(writes + deletes)}"
    )
    if diff.deletes_much:
        summary += f"; more than {MAX_DELETED:.0%} would go: --allow-delete lets them"
    if not is_there:
        summary += "; the index is not there yet: --create-index makes it"
    return PhaseResult(counts, summary + format_left_out(cut, source.without_vector))


def _read(context: Context, ledger: Ledger, model: OnlineModel, owner: str) -> SyncedSource:
    source_id = context.source.id
    row = next((row for row in ledger.models() if row.key == model.key), None)
    if row is None:
        raise MissingRequirementError(
            f"source {source_id!r} has no vectors of {model.name}", f"kbjobs run index-online {source_id}"
        )
    context.progress(0, 1, "records", "reading the ledger", LIST, eta_matters=False)
    wanted = read_wanted_records(ledger, row.id, row.profile, source_id, owner)
    lacking = len(ledger.missing_texts(row.id, row.profile))
    if lacking:
        context.log.warning("%d passages have no vector yet: kbjobs run index-online %s", lacking, source_id)
    return SyncedSource(ledger, row, source_id, owner, wanted, lacking)


def _create(context: Context, index: PineconeIndex) -> None:
    """Create the index if it is missing, and wait until it is ready."""
    try:
        described = index.describe()
    except UnknownIndexError:
        context.log.info("making the index %s", index.target.index)
        index.create()
        described = index.describe()
    until = time.monotonic() + READY_SECONDS
    pause = FIRST_PAUSE
    while not described.is_ready and time.monotonic() < until:
        pause = _pause(context, pause, "waiting until the index is ready")
        described = index.describe()
    index.check(described)


def _list(context: Context, index: PineconeIndex, source: SyncedSource) -> tuple[set[str], int]:
    """List the ids of this ledger's records in the namespace, and count the others, as far as the index shows them.

    A large namespace is listed in sixteen parts at once, by the next digit of the ids.
    """
    total = index.count()
    prefix = record_prefix(source.owner)
    prefixes = [prefix + digit for digit in HEX_DIGITS] if total >= MANY else [prefix]
    found: set[str] = set()
    with _pool(index) as pool:
        running = {pool.submit(index.list_ids, one) for one in prefixes}
        while running:
            done = _finished(running)
            running -= done
            for future in done:
                found |= future.result()
            context.progress(min(len(found), total), max(total, 1), "records", "listing", LIST, eta_matters=False)
    return found, max(0, total - len(found))


def _send(
    context: Context, index: PineconeIndex, source: SyncedSource, diff: PineconeDiff, progress: SyncProgress
) -> None:
    """Send new and changed records, several requests at a time."""
    total = len(diff.to_write)
    done = 0
    running: dict[Future[int], tuple[list[PineconeRecord], str | None]] = {}

    def collect(least: int) -> None:
        nonlocal done
        while len(running) > least:
            for future in _finished(running):
                batch, after = running.pop(future)
                progress.write_units += future.result()
                progress.pushed += len(batch)
                progress.cut += sum(record.is_cut for record in batch)
                progress.note_sent(source.wanted, batch[0].name, after)
                context.save_checkpoint(progress.as_dict())
                crash_point("pinecone.saved")
                context.saved(len(batch))
                done += len(batch)
            context.progress(done, total, "records", "sending", SEND)

    with _pool(index) as pool:
        batches = _batches(source, diff.to_write, index.target.namespace)
        batch = next(batches, None)
        while batch is not None:
            following = next(batches, None)
            collect(AT_ONCE - 1)
            running[pool.submit(_upsert, index, batch)] = batch, following[0].name if following else None
            batch = following
        collect(0)


def _upsert(index: PineconeIndex, batch: list[PineconeRecord]) -> int:
    cost = index.upsert(batch)
    crash_point("pinecone.upserted")
    return cost


def _batches(source: SyncedSource, names: Sequence[str], namespace: str) -> Iterator[list[PineconeRecord]]:
    """Yield the records as full requests, in the order of their ids."""
    packing = Packing(namespace)
    of_passage = {passage_of(name): name for name in names}
    model = source.model
    for page in store.pushed_passages(source.ledger, model.id, model.profile, list(of_passage)):
        for passage in page:
            yield from packing.add(write_record(of_passage[passage.id], source.source_id, passage))
    yield from packing.rest()


def _delete(context: Context, index: PineconeIndex, diff: PineconeDiff, progress: SyncProgress) -> None:
    """Delete records that are gone or were replaced."""
    names = diff.to_remove
    for start in range(0, len(names), MAX_IDS):
        context.progress(start, len(names), "records", "deleting", DELETE)
        page = names[start : start + MAX_IDS]
        crash_point("pinecone.before_delete")
        index.delete(page)
        crash_point("pinecone.deleted")
        progress.deleted += len(page)
        context.save_checkpoint(progress.as_dict())
        context.saved(len(page))


def _verify(context: Context, index: PineconeIndex, source: SyncedSource) -> tuple[int, int]:
    """Wait until the namespace shows the wanted records. Returns how many it lacks, and how many too many it shows.

    New records appear late, since the service is eventually consistent.
    """
    names = set(source.wanted.names)
    until = time.monotonic() + context.settings.number("pinecone.wait")
    pause = FIRST_PAUSE
    while True:
        began = time.monotonic()
        there, _ = _list(context, index, source)
        unseen, lingering = len(names - there), len(there - names)
        if not (unseen or lingering) or time.monotonic() >= until:
            break
        told = f"waiting until the index shows what was written ({unseen + lingering:,} records)"
        # A long listing is expensive, so it must not be requested all the time.
        pause = _pause(context, max(pause, 2 * (time.monotonic() - began)), told)
    if unseen or lingering:
        context.log.warning(
            "%s does not show %d of the new records yet, and still shows %d of the deleted ones",
            index.target,
            unseen,
            lingering,
        )
    return unseen, lingering


def _pause(context: Context, seconds: float, message: str) -> float:
    """Wait. Returns how long to wait the next time."""
    sleep(seconds, partial(context.progress, 0, 1, "records", message, VERIFY, eta_matters=False))
    return min(MAX_PAUSE, 2 * seconds)


def _finished(running: Iterable[Future[Answer]]) -> set[Future[Answer]]:
    """Wait a moment for requests that end. Raises their error; of several errors, the cause of the others."""
    ended, _ = wait(running, timeout=LOOK, return_when=FIRST_COMPLETED)
    failed = [error for future in ended if (error := future.exception()) is not None]
    if failed and all(isinstance(error, GivenUpError) for error in failed):
        everything, _ = wait(running)
        failed = [error for future in everything if (error := future.exception()) is not None]
    if failed:
        raise next((error for error in failed if not isinstance(error, GivenUpError)), failed[0])
    return ended


@contextmanager
def _pool(index: PineconeIndex) -> Iterator[ThreadPoolExecutor]:
    """Run threads that call the index; if the job stops or a request fails, the other requests are abandoned."""
    with ThreadPoolExecutor(AT_ONCE, "pinecone") as pool:
        try:
            yield pool
        except BaseException:
            index.interrupt()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
