"""What becomes of a block whose actor dies, or says that it cannot; without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kbjobs.embedding.cluster.actor_slots import ActorDied, Closing, NodeDied
from kbjobs.embedding.cluster.actors import Failure
from kbjobs.embedding.cluster.cluster_embedder import ClusterEmbedder
from kbjobs.embedding.embedder import EmbeddingError, GivenUpError
from kbjobs.errors import KbjobsError

Answer = Callable[[Sequence[str]], Any]


class Pool:
    """One slot that is always ready; remembers what was sent, and who was buried."""

    def __init__(self, answer: Answer) -> None:
        self.sent: list[tuple[str, ...]] = []
        self.buried: list[str] = []
        self.failure: KbjobsError | None = None
        self.is_stopping = False
        self.actors = 1
        self.work = SimpleNamespace(parcel=SimpleNamespace(key="m-1"))
        self._answer = answer
        self.caller = SimpleNamespace(call=self.call)

    def call(self, method: Any, texts: Sequence[str]) -> Any:
        self.sent.append(tuple(texts))
        return self._answer(texts)

    @contextmanager
    def take(self, *, alone: bool = False) -> Iterator[Any]:
        self.check()
        if self.is_stopping:
            raise Closing
        assert not alone or len(self.sent) > 0
        yield SimpleNamespace(actor=SimpleNamespace(embed=None), name="actor 1")

    def bury(self, slot: Any, actor: Any, error: Exception) -> None:
        self.buried.append(str(error))

    def give_up(self, reason: str, hint: str) -> None:
        self.failure = KbjobsError(reason, hint)

    def stop(self) -> None:
        self.is_stopping = True

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure


def make(answer: Answer) -> tuple[ClusterEmbedder, Pool]:
    pool: Any = Pool(answer)
    folder: Any = SimpleNamespace(name="m", dimension=1, max_tokens=8)
    connection: Any = SimpleNamespace()
    return ClusterEmbedder(folder, connection, pool), pool


def vectors_of(texts: Sequence[str]) -> Any:
    return np.array([[float(len(text))] for text in texts], dtype=np.float32)


def deadly(*words: str) -> Answer:
    def answer(texts: Sequence[str]) -> Any:
        if any(text in words for text in texts):
            raise ActorDied("killed")
        return vectors_of(texts)

    return answer


def test_a_block_whose_node_dies_is_sent_again_as_it_is() -> None:
    deaths = [NodeDied("gone"), NodeDied("gone")]

    def answer(texts: Sequence[str]) -> Any:
        if deaths:
            raise deaths.pop()
        return vectors_of(texts)

    embedder, pool = make(answer)
    assert embedder.embed(["a", "bb"]).tolist() == [[1.0], [2.0]]
    assert pool.sent == [("a", "bb")] * 3


def test_a_text_that_kills_is_known_by_its_second_death_alone() -> None:
    embedder, pool = make(deadly("bb"))
    with pytest.raises(EmbeddingError, match="dies each time: killed") as caught:
        embedder.embed(["a", "bb", "ccc"])
    assert pool.sent == [("a", "bb", "ccc"), ("a",), ("bb",), ("bb",), ("ccc",)]
    assert caught.value.unusable == {1}
    assert caught.value.vectors is not None
    assert caught.value.vectors[[0, 2]].tolist() == [[1.0], [3.0]]


def test_a_death_that_is_not_the_texts_fault_costs_nothing() -> None:
    died = [True]

    def answer(texts: Sequence[str]) -> Any:
        if died:
            died.pop()
            raise ActorDied("killed")
        return vectors_of(texts)

    embedder, pool = make(answer)
    assert embedder.embed(["a", "bb"]).tolist() == [[1.0], [2.0]]
    assert pool.sent == [("a", "bb"), ("a",), ("bb",)]


def test_five_deadly_texts_in_a_row_are_not_the_texts_fault() -> None:
    embedder, pool = make(deadly("a", "b", "c", "d", "e", "f"))
    with pytest.raises(KbjobsError, match="the actors die whatever they are given: killed"):
        embedder.embed(["a", "b", "c", "d", "e", "f"])
    assert len(pool.sent) == 1 + 5 * 2
    calm, _ = make(deadly("a", "b", "c", "d", "e", "f"))
    with pytest.raises(EmbeddingError) as caught:
        calm.embed(["a", "b", "c", "good", "d", "e", "f"])
    assert len(caught.value.unusable) == 6


def test_an_error_of_a_text_comes_back_as_a_value() -> None:
    embedder, pool = make(lambda texts: Failure("no vector", 1))
    with pytest.raises(EmbeddingError, match="no vector") as caught:
        embedder.embed(["a", "b"])
    assert (caught.value.index, caught.value.vectors, pool.buried) == (1, None, [])


def test_an_engine_that_is_out_of_order_is_replaced() -> None:
    embedder, pool = make(lambda texts: Failure("out of order") if len(texts) > 1 else vectors_of(texts))
    assert embedder.embed(["a", "bb"]).tolist() == [[1.0], [2.0]]
    assert pool.buried == ["out of order"]


def test_after_an_interrupt_nothing_is_begun() -> None:
    embedder, pool = make(vectors_of)
    embedder.interrupt()
    with pytest.raises(GivenUpError):
        embedder.embed(["a"])
    assert not pool.sent
