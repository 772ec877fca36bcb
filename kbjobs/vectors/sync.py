"""Keeping a collection equal to its ledger: compare, fill, rebuild. No model is needed for any of it."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from kbjobs.store import publication as store
from kbjobs.store.ledger_rows import Record
from kbjobs.vectors.chroma_places import forget_place
from kbjobs.vectors.collection import NEAR, PAGE, Collection, CollectionError
from kbjobs.vectors.collection_swap import WorkingCopy, check_room
from kbjobs.vectors.exact import MATRIX, PASSAGES, read_state, write_exact
from kbjobs.vectors.indexed import Indexed
from kbjobs.vectors.server_copies import MAX_IN_PLACE
from kbjobs.vectors.verified import begin_copy, find_published, note_verified
from kbjobs.vectors.wanted import LedgerRecords

EXACT_SAMPLE, NEIGHBOURS = 20, 10  # number of vectors whose exact neighbours are compared with Chroma's; neighbours
MIN_RECALL = 0.9  # share of these neighbours that Chroma must find
SAMPLE = 50  # records that are searched for by their own vector after each run
TOLERATED = 0.02  # share of a sample that an approximate index may miss; a lost part is much more
MAX_CHURN = 0.25  # deleted records, as a share of all, from which on an index is rebuilt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drift:
    """The ids of records that a collection lacks compared with its ledger, and of those it has in excess."""

    missing: list[str]
    extra: list[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra)


def compare(wanted: LedgerRecords, collection: Collection) -> Drift:
    """Compare a collection with the ledger by ids, in both directions."""
    present = collection.ids()
    return Drift(missing=sorted(wanted.ids - present), extra=sorted(present - wanted.ids))


def fill(
    indexed: Indexed,
    collection: Collection,
    ids: list[str],
    on_progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write records from the ledger to a collection.

    Args:
        indexed: the model's part of the ledger.
        collection: the collection to write to.
        ids: the records to write.
        on_progress: called with the number written so far.
    """
    done = 0
    for page in indexed.ledger.records(indexed.model, indexed.profile, ids):
        collection.upsert(page)
        done += len(page)
        on_progress(done)


def draw_records(indexed: Indexed, wanted: LedgerRecords, size: int) -> list[Record]:
    """Draw a random sample of the records that a collection should have.

    Args:
        indexed: the model's part of the ledger.
        wanted: what the collection should hold.
        size: the largest number of records.
    """
    chosen = random.sample(list(wanted.ids), min(size, len(wanted.ids)))
    pages = indexed.ledger.records(indexed.model, indexed.profile, chosen)
    return [record for page in pages for record in page]


def find_lost(indexed: Indexed, wanted: LedgerRecords, collection: Collection, size: int = SAMPLE) -> list[str]:
    """Search for a random sample of records by their own vectors.

    Args:
        indexed: the model's part of the ledger.
        wanted: what the collection should hold.
        collection: the collection to search.
        size: the number of records to search for.

    Returns:
        The ids that were not found; none if only a few were not.
    """
    sample = draw_records(indexed, wanted, size)
    unreachable = collection.unreachable(sample)
    return unreachable if len(unreachable) > TOLERATED * len(sample) else []


def measure_recall(indexed: Indexed, collection: Collection) -> float:
    """The share of the exact nearest records that the collection finds, for a random sample of vectors."""
    sample = list(store.sample_vectors(indexed.ledger, indexed.model, indexed.profile, EXACT_SAMPLE))
    if not sample:
        return 1.0
    queries = np.stack([np.frombuffer(vector, "<f4") for vector in sample])
    best = np.full((len(sample), NEIGHBOURS), -1.0, dtype=np.float32)
    vectors = (vector for _, vector in store.distinct_vectors(indexed.ledger, indexed.model, indexed.profile))
    total = 0
    while block := list(islice(vectors, PAGE)):
        total += len(block)
        scores = queries @ np.stack([np.frombuffer(vector, "<f4") for vector in block]).T
        best = np.sort(np.concatenate([best, scores], axis=1), axis=1)[:, -NEIGHBOURS:]
    count = min(NEIGHBOURS, total)
    min_scores = best[:, -count]
    found = collection.similarities(queries, count)
    hits = [sum(score >= limit - NEAR for score in scores) for scores, limit in zip(found, min_scores, strict=True)]
    return float(sum(min(count, one) for one in hits) / (count * len(sample)))


def is_exact(wanted: LedgerRecords, directory: Path) -> bool:
    """Whether the directory has an exact index that is up to date with the ledger."""
    return read_state(directory) == wanted.state


def find_outdated(wanted: LedgerRecords, directory: Path) -> list[str]:
    """The files of the exact index that are damaged or out of date with the ledger.

    Empty for a directory published by an older version, which has no exact index yet.
    """
    there = [name for name in (MATRIX, PASSAGES) if (directory / name).exists()]
    return [] if not there or is_exact(wanted, directory) else there


def recover_and_publish(
    indexed: Indexed,
    needs_fresh: bool,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    wanted: LedgerRecords | None = None,
) -> int:
    """Make the working copy equal to the ledger, verify it and publish it.

    An unusable copy, such as one damaged by a kill, is rebuilt once.

    Args:
        indexed: the model's part of the ledger, and the place of its collection.
        needs_fresh: whether to build the copy from nothing.
        on_progress: called with the number of records written and their total.
        wanted: what the ledger holds, if it was just read.

    Returns:
        The number of records.

    Raises:
        CollectionError: the rebuilt copy is unusable, too.
        UnavailableError: the disk has no room for it.
    """
    copies = indexed.copies
    if needs_fresh:
        copies.discard()
    check_room(copies, indexed.bytes_to_write(), is_fresh=needs_fresh)
    wanted = wanted or indexed.read_wanted()
    published = None if needs_fresh else find_published(indexed)
    try:
        begin_copy(indexed, copies, needs_fresh)
        deleted = _equalise(indexed, wanted, copies, on_progress)
    except CollectionError as error:
        log.warning("the working copy is not usable (%s); rebuilding it from the ledger", error.message)
        _build_anew(indexed, wanted, copies, on_progress)
        deleted, needs_fresh = 0, True
    churn = 0 if needs_fresh else indexed.ledger.churn(indexed.model) + deleted
    if churn and churn >= MAX_CHURN * len(wanted.ids):
        # Chroma only marks deleted records; many of them make others unreachable.
        log.info("%d records were deleted since the index was built: rebuilding it", churn)
        _build_anew(indexed, wanted, copies, on_progress)
        churn = 0
    passages = copies.building / PASSAGES
    if indexed.words is not None and indexed.words.exists() and not passages.exists():
        shutil.copyfile(indexed.words, passages)
    write_exact(indexed.ledger, indexed.model, indexed.profile, copies.building, wanted, published)
    copies.publish()
    if indexed.server is None:
        forget_place(indexed.ledger, indexed.live.name, indexed.source_id)
    indexed.ledger.set_churn(indexed.model, churn)
    note_verified(indexed, wanted)
    return len(wanted.ids)


def _build_anew(
    indexed: Indexed, wanted: LedgerRecords, copies: WorkingCopy, on_progress: Callable[[int, int], None]
) -> None:
    copies.discard()
    begin_copy(indexed, copies, empty=True)
    _equalise(indexed, wanted, copies, on_progress)


def _find_drift(indexed: Indexed, wanted: LedgerRecords, copies: WorkingCopy) -> Drift:
    """Compare the working copy with the ledger. Chroma is asked only if this process does not know what it holds."""
    if (present := indexed.contents.ids) is not None:
        return Drift(missing=sorted(wanted.ids - present), extra=sorted(present - wanted.ids))
    with copies.open_building() as collection:
        return compare(wanted, collection)


def _equalise(
    indexed: Indexed, wanted: LedgerRecords, copies: WorkingCopy, on_progress: Callable[[int, int], None]
) -> int:
    """Make the working copy equal to the ledger and verify it; returns how many records were deleted from it."""
    drift = _find_drift(indexed, wanted, copies)
    if copies.is_in_place and len(drift.missing) + len(drift.extra) > MAX_IN_PLACE * len(wanted.ids):
        copies.begin(empty=True)
        return _equalise(indexed, wanted, copies, on_progress)
    with copies.open_building() as collection:
        total = len(drift.missing)
        indexed.contents.ids = None
        fill(indexed, collection, drift.missing, lambda done: on_progress(done, total))
        collection.delete(drift.extra)
        where = collection.place
        if (count := collection.count()) != len(wanted.ids):
            raise CollectionError(
                f"the collection in {where} counts {count} records where the ledger has {len(wanted.ids)}"
            )
        if lost := find_lost(indexed, wanted, collection):
            raise CollectionError(f"{len(lost)} of a sample of records in {where} are not found by their own vectors")
        if not wanted.has_matrix and (recall := measure_recall(indexed, collection)) < MIN_RECALL:
            raise CollectionError(f"of the nearest records of a sample in {where} only {recall:.0%} are found")
    return len(drift.extra)
