"""Comparing a published collection with its ledger, and naming each difference by its kind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from kbjobs.store import publication as store
from kbjobs.store.connection import check_integrity
from kbjobs.store.ledger_rows import Record
from kbjobs.vectors.chroma_server import UnknownCollectionError
from kbjobs.vectors.collection import NEAR, Collection, CollectionError
from kbjobs.vectors.exact import PASSAGES
from kbjobs.vectors.hnsw_files import DATABASE, find_damage
from kbjobs.vectors.indexed import Indexed
from kbjobs.vectors.sync import SAMPLE, compare, draw_records, find_lost, find_outdated
from kbjobs.vectors.verified import note_verified
from kbjobs.vectors.wanted import LedgerRecords

COMPARED = 20_000  # most records whose texts, metadata and vectors are compared; of more, a random sample
PAGE = 500  # records compared at a time
MAX_UNREADABLE = 100  # most unreadable vectors that are searched for one by one

Problem = Literal["absent", "damaged", "dimension", "missing", "extra", "changed", "unreachable", "outdated"]
"""How a collection differs from its ledger: it does not exist; its files are damaged; its vectors have another
dimension; a record is missing, surplus, different, or not found by its own vector; a file of the exact index is damaged
or out of date with the ledger."""


@dataclass(frozen=True, slots=True)
class CollectionProblem:
    """A difference: its kind; the record, or for ``outdated`` the file; and details."""

    problem: Problem
    record: str | None = None
    detail: str = ""


def verify(indexed: Indexed, sample: int = SAMPLE, compared: int = COMPARED) -> list[CollectionProblem]:
    """Compare the live collection with the ledger.

    Args:
        indexed: the model's part of the ledger, and the place of its collection.
        sample: the number of records to search for by their own vectors.
        compared: the most records to compare by text, metadata and vector; ids are all compared.
    """
    copies = indexed.copies
    live = copies.readable()
    if indexed.server is None and not (live / DATABASE).is_file():
        what = f"there is no {DATABASE} in {live}" if live.is_dir() else f"{live} is not there"
        return [CollectionProblem("absent", None, what)]
    wanted = indexed.read_wanted()
    outdated = [CollectionProblem("outdated", name) for name in find_outdated(wanted, live)]
    if not outdated and (live / PASSAGES).exists() and (damage := _check_database(live / PASSAGES)):
        outdated.append(CollectionProblem("outdated", PASSAGES, damage))
    try:
        damage = "" if indexed.server is not None else find_damage(live) or _check_database(live / DATABASE)
        if damage:
            return [CollectionProblem("damaged", None, f"{live}: {damage}"), *outdated]
        with copies.open_live() as collection:
            found = [*_compare(indexed, wanted, collection, sample, compared), *outdated]
    except UnknownCollectionError as error:
        return [CollectionProblem("absent", None, error.message), *outdated]
    except (CollectionError, OSError) as error:
        return [CollectionProblem("damaged", None, str(error)), *outdated]
    if not found and live == indexed.live:
        note_verified(indexed, wanted)  # again, because opening the collection has written to its files
    return found


def _check_database(path: Path) -> str:
    try:
        found = check_integrity(path, quick=True)
    except sqlite3.Error as error:
        found = str(error)
    return "" if found == "ok" else f"{path.name}: {found}"


def _compare(
    indexed: Indexed, wanted: LedgerRecords, collection: Collection, sample: int, compared: int
) -> list[CollectionProblem]:
    drift = compare(wanted, collection)
    found = [CollectionProblem("missing", name) for name in drift.missing] + [
        CollectionProblem("extra", name) for name in drift.extra
    ]
    right, there = store.dimension(indexed.ledger, indexed.model), collection.dimension()
    has_vectors = there in (None, right)
    if not has_vectors:
        text = f"the collection has vectors of {there} dimensions, the ledger of {right}"
        found.append(CollectionProblem("dimension", None, text))
    records = draw_records(indexed, wanted, compared)
    unreadable: list[str] = []
    for start in range(0, len(records), PAGE):
        page = records[start : start + PAGE]
        found += _compare_records(page, _read(collection, page, has_vectors, unreadable))
    found += [CollectionProblem("unreachable", name, "its vector cannot be read") for name in unreadable]
    if has_vectors and not unreadable:
        known = {*drift.missing, *(one.record for one in found)}
        lost = find_lost(indexed, wanted, collection, sample)
        found += [CollectionProblem("unreachable", name) for name in lost if name not in known]
    return found


def _read(collection: Collection, page: Sequence[Record], has_vectors: bool, unreadable: list[str]) -> Iterator[Record]:
    """Read those of the records that exist; halves a page that Chroma refuses because of a single lost vector."""
    names = [record.id for record in page]
    try:
        yield from list(collection.read(names, has_vectors and len(unreadable) < MAX_UNREADABLE))
    except CollectionError:
        if not has_vectors:
            raise
        if len(page) == 1:
            unreadable += names
            yield from collection.read(names, has_vectors=False)
            return
        middle = len(page) // 2
        for part in (page[:middle], page[middle:]):
            yield from _read(collection, part, has_vectors, unreadable)


def _compare_records(right: Sequence[Record], there: Iterator[Record]) -> Iterator[CollectionProblem]:
    by_id = {record.id: record for record in right}
    for record in there:
        wrong = _describe_difference(by_id[record.id], record)
        if wrong:
            yield CollectionProblem("changed", record.id, ", ".join(wrong))


def _describe_difference(right: Record, there: Record) -> list[str]:
    names = ["text", "doc_id", "title", "url"]
    if there.title and right.text.startswith(there.title) and not right.text.startswith(right.title):
        # A metadata run has read the page since; its passages stay the old ones until the next index run.
        names = ["text", "doc_id"]
    wrong = [name for name in names if getattr(right, name) != getattr(there, name)]
    if there.vector and there.vector != right.vector:
        one, other = np.frombuffer(right.vector, "<f4"), np.frombuffer(there.vector, "<f4")
        length = float(np.linalg.norm(one) * np.linalg.norm(other))
        if not length or not float(one @ other) / length >= 1 - NEAR:
            wrong.append("vector")
    return wrong
