"""Of several failed requests the one that tells why is raised, whichever ends first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from kbjobs.embedding.embedder import GivenUpError
from kbjobs.errors import MissingRequirementError
from kbjobs.indexing.embedding_batches import BatchEmbedding
from kbjobs.store.ledger_rows import MissingText


class Refused:
    """Two requests at once: the first is refused, and only after the second, which was given up for it, has ended."""

    in_flight = 2

    def __init__(self) -> None:
        self.given_up = threading.Event()

    def embed(self, texts: Sequence[str]) -> Any:
        if texts == ["first"]:
            assert self.given_up.wait(20)
            raise MissingRequirementError("the key is refused", "")
        raise GivenUpError("the request was abandoned")

    def interrupt(self) -> None:
        self.given_up.set()


def test_the_cause_is_raised() -> None:
    context: Any = SimpleNamespace(log=logging.getLogger("test"), check=lambda: None)
    texts = {1: "first", 2: "second"}
    batches = [[MissingText(1, "a", 1)], [MissingText(2, "b", 1)]]
    embedder: Any = Refused()
    embedding = BatchEmbedding(
        context, embedder, batches, lambda batch: [texts[one.chunk] for one in batch], lambda batch, vectors: None
    )
    with pytest.raises(MissingRequirementError, match="the key is refused") as caught:
        embedding.run(lambda count: None)
    assert caught.value.__context__ is None  # an error of the library would quote the server, and that the key
