"""What a namespace of Pinecone lacks of a ledger, and what it has too much: by ids alone."""

from __future__ import annotations

import hashlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from kbjobs.store import publication as store
from kbjobs.store.ledger import Ledger
from kbjobs.vectors.pinecone_records import name_record, passage_of

MAX_DELETED = 0.2  # share of the records there that may go without being asked about


@dataclass(frozen=True, slots=True)
class WantedRecords:
    """The ids that the namespace is to have, in order; ``state`` is equal as long as they are."""

    names: list[str]
    state: str


def read_wanted_records(ledger: Ledger, model: int, profile: int, source_id: str, owner: str) -> WantedRecords:
    """List the ids that a namespace should have: one for each passage with a vector.

    A cleared collection changes nothing.

    Args:
        ledger: the source's ledger.
        model: the model's row in it.
        profile: the row of its cutting profile.
        source_id: id of the source.
        owner: names the ledger.
    """
    names = sorted(
        name_record(owner, record, (source_id, *described), vector)
        for record, described, vector in store.pushed_states(ledger, model, profile)
    )
    return WantedRecords(names, hashlib.sha256("\n".join(names).encode()).hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class PineconeDiff:
    """What is to be done, by ids.

    ``new`` are records of passages that are not there; ``changed`` those of passages that are there otherwise, and
    ``replaced`` the ids under which they are; ``gone`` those of passages that the ledger no longer has.
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
        """The four numbers."""
        return {
            "to_push": len(self.new),
            "to_update": len(self.changed),
            "to_delete": len(self.gone),
            "in_sync": self.in_sync,
        }

    @property
    def deletes_much(self) -> bool:
        """Whether more of the passages there would go than may without being asked about."""
        return len(self.gone) > MAX_DELETED * self.there


def compare_records(wanted: WantedRecords, present: AbstractSet[str]) -> PineconeDiff:
    """Compare the ids that should be there with those that are.

    Args:
        wanted: by the ledger.
        present: in the namespace, of the same owner.
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
