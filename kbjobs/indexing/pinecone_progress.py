"""The progress of a sync to Pinecone: the records sent, which a listing may not show yet.

A source's wanted records are in order. The records sent are remembered as spans of that order: requests are filled in
order, and records between two records of one request are there already. So a few numbers suffice.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from kbjobs.vectors.pinecone_diff import WantedRecords


@dataclass(slots=True)
class SyncProgress:
    """A job's progress over all of its attempts.

    ``plan``: the four numbers that its first attempt found; ``spans``: first and last place of each run of sent
    records.
    """

    target: str
    state: str
    plan: dict[str, int]
    spans: list[tuple[int, int]] = field(default_factory=list)
    pushed: int = 0
    deleted: int = 0
    write_units: int = 0
    cut: int = 0

    @classmethod
    def read(cls, checkpoint: Any, target: str, wanted: WantedRecords) -> SyncProgress | None:
        """Read the progress of an earlier attempt; None if there is none, or if its target or state differs.

        Args:
            checkpoint: the job's checkpoint.
            target: the index and namespace.
            wanted: the records that the source should have there.
        """
        if not isinstance(checkpoint, dict) or set(checkpoint) != {one.name for one in fields(cls)}:
            return None  # from another version of kbjobs
        if checkpoint["target"] != target or checkpoint["state"] != wanted.state:
            return None
        return cls(**{**checkpoint, "spans": [(low, high) for low, high in checkpoint["spans"]]})

    def as_dict(self) -> dict[str, Any]:
        """The progress as a checkpoint."""
        return asdict(self)

    def sent(self, wanted: WantedRecords) -> set[str]:
        """The ids within the spans."""
        return {name for low, high in self.spans for name in wanted.names[low : high + 1]}

    def note_sent(self, wanted: WantedRecords, first: str, after: str | None) -> None:
        """Record a request that was answered.

        Args:
            wanted: the records that the source should have there.
            first: the first id in the request.
            after: the first id in the next request; None if it was the last.
        """
        low = bisect_left(wanted.names, first)
        high = (len(wanted.names) if after is None else bisect_left(wanted.names, after)) - 1
        merged: list[tuple[int, int]] = []
        for span in sorted([*self.spans, (low, high)]):
            if merged and span[0] <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], span[1]))
            else:
                merged.append(span)
        self.spans = merged
