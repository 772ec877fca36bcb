"""What a job remembers about its batches from one look to the next: a fact of the ledger."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field

from kbjobs.store.ledger import Ledger

LONGEST = 30
"""The longest pause between two looks, as a multiple of the first pause: five minutes with the default setting."""

TRIES = 5
"""How often a passage is sent whose request fails for a transient reason, before it counts as failed for good."""


def state_name(model_key: str, job_id: int) -> str:
    """The fact's name."""
    return f"batches {model_key} {job_id}"


@dataclass
class BatchState:
    """The state of one job's batches: what it waits for, and what has failed.

    Attributes:
        looks: looks in a row that found nothing new.
        refusals: batches in a row that brought nothing.
        held_until: nothing is sent before, since the account's queue is full; seconds since 1970.
        holds: such delays in a row.
        failed: passages that cannot be embedded, by hash.
        tries: how often a passage's request failed for a transient reason, by hash.
    """

    name: str
    looks: int = 0
    refusals: int = 0
    held_until: float = 0.0
    holds: int = 0
    failed: set[str] = field(default_factory=set)
    tries: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, ledger: Ledger, model_key: str, job_id: int) -> BatchState:
        """Read the job's state from the ledger; a new one if there is none.

        Args:
            ledger: the source's ledger.
            model_key: the key of the model.
            job_id: the job.
        """
        name = state_name(model_key, job_id)
        noted = json.loads(ledger.fact(name) or "{}")
        return cls(name, **{**noted, "failed": set(noted.get("failed", ()))})

    @property
    def failures(self) -> int:
        """A count of all known failures, which only grows."""
        return len(self.failed) + sum(self.tries.values())

    def fact(self) -> tuple[str, str]:
        """The state as a fact of the ledger: name and value."""
        values = asdict(self) | {"failed": sorted(self.failed)}
        del values["name"]
        return self.name, json.dumps(values)

    def save(self, ledger: Ledger) -> None:
        """Write the state to the ledger."""
        ledger.set_fact(*self.fact())

    def pause(self, first: float) -> float:
        """Return the seconds until the next look, longer after each look that finds nothing."""
        pause = first * min(LONGEST, 2.0**self.looks)
        self.looks = min(self.looks + 1, LONGEST)
        held = self.held_until - time.time()
        return max(pause, min(held, LONGEST * first))

    def hold(self, first: float) -> None:
        """Send nothing for a while, longer each time in a row."""
        self.held_until = time.time() + first * min(LONGEST, 2.0**self.holds)
        self.holds += 1

    def is_held(self) -> bool:
        """Whether nothing may be sent now."""
        return time.time() < self.held_until

    def count_failure(self, text_hash: str) -> bool:
        """Count a request that failed for a transient reason. Returns whether to send its passage again."""
        self.tries[text_hash] = self.tries.get(text_hash, 0) + 1
        if self.tries[text_hash] < TRIES:
            return True
        self.failed.add(text_hash)
        return False
