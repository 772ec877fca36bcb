"""What all attempts of a job have embedded so far: it is in the ledger together with the vectors themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass

from kbjobs.embedding.base import Embedder
from kbjobs.store.ledger import Ledger


@dataclass
class Bought:
    """Texts that a job has embedded, and tokens that were paid for them, over all its attempts.

    Of an answer that was lost on its way, or was not in the ledger when the worker was killed, nobody knows here.
    """

    name: str
    texts: int
    tokens: int
    embedder: Embedder

    @classmethod
    def read(cls, ledger: Ledger, embedder: Embedder, job_id: int) -> Bought:
        """What earlier attempts have noted."""
        name = f"bought {embedder.model_key} {job_id}"
        noted = json.loads(ledger.fact(name) or "[0, 0]")
        return cls(name, int(noted[0]), int(noted[1]), embedder)

    @property
    def all_tokens(self) -> int:
        """Tokens of all attempts, this one included."""
        return self.tokens + self.embedder.tokens_bought

    def add(self, texts: int) -> tuple[str, str]:
        """Count more texts; returns the fact that is to be committed with their vectors."""
        self.texts += texts
        return self.name, json.dumps([self.texts, self.all_tokens])
