"""Comparing a Pinecone namespace with a ledger by ids alone: missing, changed and surplus records."""

from __future__ import annotations

import hashlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from kbjobs.store import publication as store
from kbjobs.store.ledger import Ledger
from kbjobs.vectors.pinecone_records import name_record, passage_of

MAX_DELETED = 0.2  # share of a namespace's passages that may be deleted without asking


@dataclass(frozen=True, slots=True)
class WantedRecords:
    """The ids that the namespace should have, in order; ``state`` is a hash of them."""

    names: list[str]
    state: str


def read_wanted_records(ledger: Ledger, model: int, profile: int, source_id: str, owner: str) -> WantedRecords:
    """List the ids that a namespace should have: one for each passage with a vector.

    It does not matter whether the model's collection is cleared.

    Args:
        ledger: the source's ledger.
        model: the model's row in it.
        profile: the row of its cutting profile.
        source_id: the source's id.
        owner: the ledger's name.
    """
    names = sorted(
        name_record(owner, record, (source_id, *described), vector)
        for record, described, vector in store.pushed_states(ledger, model, profile)
    )
    return WantedRecords(names, hashlib.sha256("\n".join(names).encode()).hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class PineconeDiff:
    """The changes that make a namespace equal to the ledger, as ids of records.

    ``new`` are records of passages that the namespace lacks; ``changed`` are new records of passages whose content has
    changed, and ``replaced`` their old records; ``gone`` are records of passages that the ledger no longer has.
    """

    new: list[str]
    changed: list[str]
    replaced: list[str]
    gone: list[str]
    in_sync: int
    there: int

    @property
    def to_write(self) -> list[str]:
        """All records to send, in order."""
        return sorted(self.new + self.changed)

    @property
    def to_remove(self) -> list[str]:
        """All records to delete, in order."""
        return sorted(self.replaced + self.gone)

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers of records to push, update and delete, and of those in sync."""
        return {
            "to_push": len(self.new),
            "to_update": len(self.changed),
            "to_delete": len(self.gone),
            "in_sync": self.in_sync,
        }

    @property
    def deletes_much(self) -> bool:
        """Whether it deletes more passages than are allowed without asking."""
        return len(self.gone) > MAX_DELETED * self.there


def compare_records(wanted: WantedRecords, present: AbstractSet[str]) -> PineconeDiff:
    """Compare the ids that should be there with those that are.

    Args:
        wanted: the ids that the ledger wants.
        present: the ids in the namespace, of the same owner.
    """
    names = set(wanted.names)
    passages = {passage_of(name) for name in names}
    present_passages = {passage_of(name) for name in present}
    lacking = [name for name in wanted.names if name not in present]
    surplus = present - names
    return PineconeDiff(
        new=[name for name in lacking if passage_of(name) not in present_passages],
        changed=[name for name in lacking if passage_of(name) in present_passages],
        replaced=[name for name in surplus if passage_of(name) in passages],
        gone=[name for name in surplus if passage_of(name) not in passages],
        in_sync=len(names) - len(lacking),
        there=len(present_passages),
    )
