"""How far a sync to Pinecone has come: what is there, though a listing may not show it yet.

The records that a source is to have stand in order. What was sent is remembered as spans of that order: requests are
filled in it, and what lies between two records of one request is there already. So it is a handful of numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from kbjobs.vectors.pinecone_diff import WantedRecords


@dataclass(slots=True)
class SyncProgress:
    """A job's progress over all of its attempts.

    ``plan`` are the four numbers that its first attempt found; ``spans`` are first and last place of what was sent.
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
        """That of an earlier attempt; None where there is none, or it was about something else."""
        if not isinstance(checkpoint, dict) or set(checkpoint) != {one.name for one in fields(cls)}:
            return None  # another version has written it
        if checkpoint["target"] != target or checkpoint["state"] != wanted.state:
            return None
        return cls(**{**checkpoint, "spans": [(low, high) for low, high in checkpoint["spans"]]})

    def as_dict(self) -> dict[str, Any]:
        """The checkpoint."""
        return asdict(self)

    def sent(self, wanted: WantedRecords) -> set[str]:
        """The ids within the spans."""
        return {name for low, high in self.spans for name in wanted.names[low : high + 1]}

    def note_sent(self, wanted: WantedRecords, first: str, after: str | None) -> None:
        """Remember a request: the first id in it, and the first of the next one (None: it was the last)."""
        low = bisect_left(wanted.names, first)
        high = (len(wanted.names) if after is None else bisect_left(wanted.names, after)) - 1
        merged: list[tuple[int, int]] = []
        for span in sorted([*self.spans, (low, high)]):
            if merged and span[0] <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], span[1]))
            else:
                merged.append(span)
        self.spans = merged
