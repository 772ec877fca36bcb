"""What all attempts of a job have embedded so far, committed in the ledger together with the vectors."""

from __future__ import annotations

import json
from dataclasses import dataclass

from kbjobs.embedding.embedder import Embedder
from kbjobs.store.ledger import Ledger


@dataclass
class Usage:
    """Texts that a job has embedded, and tokens that were paid for them, over all its attempts.

    ``batch_tokens`` were paid through batches, at a lower price. Answers that were lost on their way, or were not in
    the ledger when the worker was killed, are not included.
    """

    name: str
    texts: int
    tokens: int
    batch_tokens: int
    embedder: Embedder

    @classmethod
    def read(cls, ledger: Ledger, embedder: Embedder, job_id: int) -> Usage:
        """Read what earlier attempts have recorded.

        Args:
            ledger: the source's ledger.
            embedder: the job's embedder.
            job_id: the job.
        """
        name = f"bought {embedder.model_key} {job_id}"
        texts, tokens, *more = json.loads(ledger.fact(name) or "[0, 0]")
        return cls(name, int(texts), int(tokens), int(more[0]) if more else 0, embedder)

    @property
    def all_tokens(self) -> int:
        """Tokens of all attempts, including this one."""
        return self._asked_tokens + self.batch_tokens

    def add(self, texts: int, batch_tokens: int = 0) -> tuple[str, str]:
        """Count more texts. Returns the fact to commit with their vectors."""
        self.texts += texts
        self.batch_tokens += batch_tokens
        return self.name, json.dumps([self.texts, self._asked_tokens, self.batch_tokens])

    @property
    def _asked_tokens(self) -> int:
        return self.tokens + self.embedder.tokens_bought
