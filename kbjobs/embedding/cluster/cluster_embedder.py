"""The pipeline's view of a cluster: a model that takes many calls at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kbjobs.config.home import Home
from kbjobs.config.secrets import find_secret
from kbjobs.config.settings import Settings
from kbjobs.embedding.choose import read_reference
from kbjobs.embedding.cluster.actor_slots import (
    BLOCKS_AT_ONCE,
    ActorDied,
    ActorWork,
    Closing,
    ClusterLost,
    NodeDied,
    embed_block,
)
from kbjobs.embedding.cluster.actors import Failure, Load, load_best
from kbjobs.embedding.cluster.address import RAY_AUTH_TOKEN
from kbjobs.embedding.cluster.model_transfer import pack_model
from kbjobs.embedding.cluster.pool import Pool, Room
from kbjobs.embedding.cluster.ray_connection import Connection, OnStep, connect
from kbjobs.embedding.embedder import LOCAL_COMMIT_TOKENS, UNLIMITED, EmbeddingError, GivenUpError
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.token_embedder import load_tokenizer

if TYPE_CHECKING:
    import tokenizers

log = logging.getLogger(__name__)

_FATAL = 2  # deaths of an actor while alone with a text, after which the text counts as the cause
_FATAL_TEXTS = 5  # in a row, with none embedded in between: then the texts are not the cause


class ClusterEmbedder:
    """An :class:`~kbjobs.embedding.embedder.Embedder` whose calls are served by the actors of a pool.

    If a block's actor dies, the block is tried again, text by text, each alone on an actor, so that two deaths identify
    a text that kills. The death of a node says nothing about a text.
    """

    commit_tokens = LOCAL_COMMIT_TOKENS
    commit_texts = UNLIMITED
    pads = True
    is_free = True
    tokens_bought = 0

    def __init__(self, folder: ModelFolder, connection: Connection, pool: Pool) -> None:
        self.name = folder.name
        self.dimension = folder.dimension
        self.max_tokens = folder.max_tokens
        self.model_key = pool.work.parcel.key
        self._folder = folder
        self._connection = connection
        self._pool = pool
        self._fatal = 0
        self._counting = threading.Lock()

    @property
    def in_flight(self) -> int:
        """See :class:`~kbjobs.embedding.embedder.Embedder`; the number follows the nodes that join and leave."""
        return BLOCKS_AT_ONCE * max(1, self._pool.actors)

    @property
    def engine(self) -> str:
        """``ray`` and the engines of its actors."""
        return f"ray ({', '.join(self._pool.engines())})"

    @property
    def ready(self) -> int:
        """How many actors are ready now."""
        return self._pool.ready

    @property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """The model's tokenizer without truncation or padding, for counting tokens."""
        return load_tokenizer(self._folder)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed passages; see :meth:`kbjobs.embedding.embedder.Embedder.embed`.

        Raises:
            EmbeddingError: a text gave no vector, or killed the process that embedded it.
            JobInterrupted: the cluster has gone away.
            KbjobsError: no node can be used.
            GivenUpError: after :meth:`interrupt`.
        """
        try:
            answer = self._send(texts)
        except Closing:
            raise GivenUpError("a block was given up") from None
        except ActorDied as error:
            log.warning("%d texts are tried again one by one: %s", len(texts), error)
            return self._embed_singly(texts)
        if isinstance(answer, Failure):
            if answer.index is not None:
                raise EmbeddingError(answer.index, answer.reason)
            return self._embed_singly(texts)
        return answer

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed a search query; see :meth:`kbjobs.embedding.embedder.Embedder.embed_query`."""
        with self._pool.take() as slot:
            vector: NDArray[np.float32] = self._pool.caller.call(slot.actor.embed_query, text)
        return vector

    def leaves_time(self) -> bool:
        """See :meth:`kbjobs.embedding.embedder.Embedder.leaves_time`; embedding happens elsewhere."""
        return True

    def interrupt(self) -> None:
        """See :meth:`kbjobs.embedding.embedder.Embedder.interrupt`."""
        self._pool.stop()

    def close(self) -> None:
        """End the actors, and leave the cluster."""
        self._pool.close()
        self._connection.close()

    def _send(self, texts: Sequence[str], *, alone: bool = False) -> NDArray[np.float32] | Failure:
        """Embed a block on any actor; if an actor's node dies, on another.

        Raises:
            ActorDied: the actor died, or could not continue.
            Closing: the block was not begun.
        """
        while True:
            with self._pool.take(alone=alone) as slot:
                actor = slot.actor
                try:
                    answer = embed_block(self._pool.caller, slot, texts)
                except (ActorDied, ClusterLost) as error:
                    self._pool.bury(slot, actor, error)
                    if not isinstance(error, ActorDied):
                        self._pool.check()
                    elif not isinstance(error, NodeDied):
                        raise
                    continue
                except Closing:
                    self._pool.check()
                    raise
                if isinstance(answer, Failure) and answer.index is None:
                    died = ActorDied(answer.reason)
                    self._pool.bury(slot, actor, died)
                    raise died
            with self._counting:
                self._fatal = 0
            return answer

    def _embed_singly(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        reasons: dict[int, str] = {}
        for index, text in enumerate(texts):
            try:
                answer = self._send_alone(text)
            except Closing:
                raise GivenUpError("a block was given up") from None
            if isinstance(answer, Failure):
                reasons[index] = answer.reason
            else:
                vectors[index] = answer[0]
        if reasons:
            first = min(reasons)
            raise EmbeddingError(first, reasons[first], vectors, sorted(reasons), reasons)
        return vectors

    def _send_alone(self, text: str) -> NDArray[np.float32] | Failure:
        for _ in range(_FATAL):
            try:
                return self._send([text], alone=True)
            except ActorDied as error:
                last = error
        with self._counting:
            self._fatal += 1
            if self._fatal >= _FATAL_TEXTS:
                self._pool.give_up(
                    f"the actors die whatever they are given: {last}",
                    "Look at the memory of the nodes and at Ray's logs there (/tmp/ray/session_latest/logs).",
                )
        self._pool.check()
        return Failure(f"the process that embeds it dies each time: {last}")


def open_cluster(
    home: Home, settings: Settings, model: str, address: str, on_step: OnStep, load: Load = load_best
) -> ClusterEmbedder:
    """Reach or start a cluster, and load the model on it.

    Args:
        home: where the model and its prepared files are.
        settings: how much of the cluster to use, and how long to wait for it.
        model: the model's name.
        address: the cluster's address, or ``local``.
        on_step: called with the current step, for people; may raise to stop.
        load: loads the model on a node.

    Raises:
        NotFoundError, MissingRequirementError: the model or ray is missing, or ray differs from the cluster's version.
        JobInterrupted: there is no cluster, or it has no room.
        KbjobsError: no node can be used.
    """
    room = Room(settings.integer("ray.actors"), settings.integer("ray.cpus"), settings.number("ray.wait"))
    folder = find_model(model, home.models)
    work = ActorWork(pack_model(folder, home.engines), read_reference(folder, home.engines), load)
    connection = connect(address, find_secret(home, RAY_AUTH_TOKEN), room.wait, on_step)
    pool = Pool(connection, work, room)
    try:
        pool.open(on_step)
        return ClusterEmbedder(folder, connection, pool)
    except BaseException:
        pool.close()
        connection.close()
        raise
