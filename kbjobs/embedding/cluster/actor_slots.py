"""Slots: places for one actor on one node, whose actor is started, checked, and replaced when it dies."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kbjobs.embedding.cluster.actors import EmbeddingActor, Failure, Load, Sight, describe_versions
from kbjobs.embedding.cluster.model_transfer import Parcel, read_parts
from kbjobs.embedding.model_folder import ModelFolder

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    Vectors = NDArray[float32]

log = logging.getLogger(__name__)

BLOCKS_AT_ONCE = 2  # per actor: one is embedded while the next is on its way
LOOK_SECONDS = 0.2
ANSWER_SECONDS = 900.0  # limit for any answer of an actor; preparing a model takes longest
DEATHS = 3  # of actors at their start, in a row, after which a slot is given up
_PARTS_AT_ONCE = 2
_NODE_DIED = "its node has died"  # in the message of ray.exceptions.ActorDiedError, which has no field for it
_OWNER_DIED = "its owner has died"


class ActorDied(Exception):
    """An actor ended, or was ended, without an answer."""


class NodeDied(ActorDied):
    """The node of an actor is gone."""


class ClusterLost(Exception):
    """The cluster has forgotten this process, or no longer answers."""


class Closing(Exception):
    """The pool is closing; the answer is no longer needed."""


@dataclass
class Node:
    """A node of the cluster that can embed."""

    id: str
    address: str
    spare: list[tuple[float, int]] = field(default_factory=list)
    """CPUs and GPUs of further slots that fit on it."""
    is_alive: bool = True
    shipping: threading.Lock = field(default_factory=threading.Lock)
    """Held while one of its actors receives the model, or finds that it is there."""


@dataclass(frozen=True)
class ActorWork:
    """The common input of all actors."""

    parcel: Parcel
    reference: Vectors
    load: Load

    @property
    def folder(self) -> ModelFolder:
        """The model on this machine."""
        return self.parcel.folder


@dataclass
class ActorSlot:
    """A place for one actor. ``state`` is starting, ready or gone."""

    number: int
    node: Node
    cpus: float
    gpus: int
    actor: Any = None
    state: str = "starting"
    engine: str = ""
    refusal: str = ""
    """Why it is gone, if the reason lies with its node."""
    blocks: int = 0
    """On their way to its actor, or being embedded there."""
    is_reserved: bool = False
    """For a block that must be alone on it."""
    is_reached: bool = False
    """Whether the actor has answered once; until then it may be waiting for free CPUs."""
    deaths: int = 0
    died: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """The slot's name for people."""
        return f"actor {self.number} on {self.node.address}"


class Caller:
    """Calls actors, and waits for answers as long as they can still come."""

    def __init__(self, ray: Any, is_closing: Callable[[], bool], heard: Callable[[], None]) -> None:
        self.ray = ray
        self._is_closing = is_closing
        self._heard = heard

    def call(self, method: Any, *arguments: Any) -> Any:
        """Call an actor's method and return its answer. Raises as :meth:`wait` does."""
        return self.wait(self.begin(method, *arguments))

    def begin(self, method: Any, *arguments: Any) -> Future[Any]:
        """Call an actor's method without waiting."""
        future: Future[Any] = method.remote(*arguments).future()
        return future

    def wait(self, future: Future[Any], seconds: float = ANSWER_SECONDS) -> Any:
        """Wait for an answer.

        Raises:
            ActorDied, NodeDied: no answer will come.
            ClusterLost: this process is no longer part of the cluster.
            Closing: the answer is no longer needed.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = future.result(timeout=LOOK_SECONDS)
            except TimeoutError:
                if self._is_closing():
                    raise Closing from None
                if time.monotonic() > deadline:
                    raise ActorDied(f"no answer within {seconds:.0f} s") from None
            except self.ray.exceptions.RayError as error:
                raise _sort(error) from error
            else:
                self._heard()
                return answer


def _sort(error: Exception) -> Exception:
    text = str(error)
    if _OWNER_DIED in text:
        return ClusterLost("the cluster counts this machine's node as dead")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith("The actor is dead because")), lines[-1] if lines else "")
    return (NodeDied if _NODE_DIED in text else ActorDied)(reason[:300])


def start_actor(caller: Caller, slot: ActorSlot, work: ActorWork) -> None:
    """Start an actor on a slot, send it the model if needed, and check its parity.

    Args:
        caller: waits for the answers.
        slot: where the actor starts; its ``refusal`` is set if the node cannot be used.
        work: the model, and the reference that its vectors must match.

    Raises:
        ActorDied, NodeDied, ClusterLost, Closing: as :meth:`Caller.wait` does.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    slot.is_reached = False
    slot.actor = (
        caller.ray.remote(EmbeddingActor)
        .options(
            num_cpus=slot.cpus,
            num_gpus=slot.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(slot.node.id, soft=False),
        )
        .remote(work.parcel, work.load)
    )
    sight: Sight = caller.call(slot.actor.look, max(1, int(slot.cpus)))
    slot.is_reached = True
    if refusal := sight.refusal or _compare_versions(slot, sight):
        slot.refusal = refusal
        return
    if not sight.has_model and (refusal := _ship(caller, slot, work.parcel)):
        slot.refusal = refusal
        return
    proof = caller.call(slot.actor.prove, work.parcel.key, work.reference)
    slot.refusal, slot.engine = proof.refusal, proof.engine
    if not proof.refusal:
        log.info("%s (process %d): %s, parity %.5f", slot.name, sight.pid, proof.engine, proof.cosine)


def _compare_versions(slot: ActorSlot, sight: Sight) -> str:
    """Log which versions differ from the ones here. Returns why the node cannot be used, or ""."""
    here = describe_versions()
    if sight.versions["kbjobs"] != here["kbjobs"]:
        return f"it runs kbjobs {sight.versions['kbjobs']}, not {here['kbjobs']}; a PYTHONPATH there may lead to it"
    others = [
        f"{name} {sight.versions.get(name, 'missing')} (here {found})"
        for name, found in here.items()
        if sight.versions.get(name) != found
    ]
    versions = ", ".join(f"{name} {found}" for name, found in sight.versions.items())
    log.info("%s: %s", slot.name, versions)
    if others:
        log.warning("%s has other versions: %s; parity decides whether it is used", slot.name, ", ".join(others))
    return ""


def _ship(caller: Caller, slot: ActorSlot, parcel: Parcel) -> str:
    """Send the model to the slot's node, unless another slot already sent it. Returns what went wrong, or ""."""
    with slot.node.shipping:
        if not caller.call(slot.actor.begin):
            return ""
        log.info("sending %s (%.0f MB) to %s", parcel.folder.name, parcel.size / 1e6, slot.node.address)
        sent: deque[Future[Any]] = deque()
        for name, part in read_parts(parcel):
            sent.append(caller.begin(slot.actor.take, name, part))
            if len(sent) >= _PARTS_AT_ONCE:
                caller.wait(sent.popleft())
        while sent:
            caller.wait(sent.popleft())
        refusal: str = caller.call(slot.actor.finish)
        return refusal


def embed_block(caller: Caller, slot: ActorSlot, texts: Sequence[str]) -> Vectors | Failure:
    """Have the actor of a slot embed a block of passages.

    Args:
        caller: waits for the answer.
        slot: a slot whose actor is ready.
        texts: the passages.

    Returns:
        The vectors in the order of the texts, or why there are none.

    Raises:
        ActorDied, NodeDied, ClusterLost, Closing: as :meth:`Caller.wait` does.
    """
    answer: Vectors | Failure = caller.call(slot.actor.embed, list(texts))
    return answer
