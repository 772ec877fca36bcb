"""The pool of actors: as many as the cluster has room for; each is replaced when it dies, and all end with the job."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kbjobs.embedding.cluster.actor_slots import (
    BLOCKS_AT_ONCE,
    DEATHS,
    LOOK_SECONDS,
    ActorDied,
    ActorSlot,
    ActorWork,
    Caller,
    Closing,
    ClusterLost,
    Node,
    NodeDied,
    start_actor,
)
from kbjobs.embedding.cluster.ray_connection import Connection, OnStep
from kbjobs.errors import JobInterrupted, KbjobsError
from kbjobs.formatting import counted

log = logging.getLogger(__name__)

_NODES_SECONDS = 2.0  # between two looks at the list of nodes
_SILENCE_SECONDS = 10.0  # of silence that a cluster is always allowed, even if the wait is shorter
_DEPARTURE_SECONDS = 30.0  # after which a node that is said to be dead, but still listed, is tried again
_STOP_SECONDS = 5.0  # for answers on their way when the job must stop


@dataclass(frozen=True)
class Room:
    """How much of a cluster a job uses."""

    actors: int = 0
    """The most actors; 0: as many as there is room for, also on nodes that join later."""
    cpus: int = 4
    """CPUs per actor."""
    wait: float = 60.0
    """Seconds without any answer, or without any node, after which the cluster counts as lost."""


class Pool:
    """All slots. One thread watches the nodes, and one thread per slot looks after its actor.

    Callers take a slot with :meth:`take`, and report with :meth:`bury` that its actor has died.
    """

    def __init__(self, connection: Connection, work: ActorWork, room: Room) -> None:
        self._connection = connection
        self.work = work
        self._room = room
        self._changed = threading.Condition()
        self._slots: list[ActorSlot] = []
        self._nodes: dict[str, Node] = {}
        self._is_closing = False
        self._stopped_at: float | None = None
        self._failure: KbjobsError | None = None
        self._heard_at = self._reached_at = time.monotonic()
        self.caller = Caller(connection.ray, self._is_over, self._hear)

    @property
    def actors(self) -> int:
        """The number of actors, ready or starting; it changes as nodes join and leave."""
        return len(self._slots) - self._count("gone")

    @property
    def ready(self) -> int:
        """The number of actors that are ready now."""
        return self._count("ready")

    def open(self, on_step: OnStep) -> None:
        """Start actors on all nodes, and wait until the first is ready.

        Raises:
            KbjobsError: no node can be used; the message says why.
            JobInterrupted: there is no room, or the cluster went away.
        """
        threading.Thread(target=self._watch_nodes, name="ray-nodes", daemon=True).start()
        while True:
            with self._changed:
                self._changed.wait(LOOK_SECONDS)
                ready, slots, nodes = self._count("ready"), len(self._slots), len(self._nodes)
                self.check()
            places = f"{ready} of {counted(slots, 'actor')} on {counted(nodes, 'node')} ready"
            on_step(places if slots else "looking at the cluster's nodes")
            if ready:
                return

    def check(self) -> None:
        """Raise the error that the pool has failed with, if it has."""
        self._notice_silence()
        if self._failure is not None:
            raise self._failure

    def engines(self) -> list[str]:
        """List the names of the engines that actors have run."""
        return sorted({slot.engine for slot in self._slots if slot.engine})

    @contextmanager
    def take(self, *, alone: bool = False) -> Iterator[ActorSlot]:
        """Take a slot whose actor is ready, for one block; with ``alone``, no other block shares it in the meantime.

        Raises:
            KbjobsError: the pool has failed.
            Closing: nothing new may begin.
        """
        with self._changed:
            while (slot := self._find(alone)) is None or (alone and not self._clear(slot)):
                self._wait()
            slot.blocks += 1
        try:
            yield slot
        finally:
            with self._changed:
                slot.blocks -= 1
                slot.is_reserved = slot.is_reserved and not alone
                self._changed.notify_all()

    def bury(self, slot: ActorSlot, actor: Any, error: Exception) -> None:
        """Mark the actor of a slot as dead, so that it is replaced. Repeated calls for one actor do nothing.

        Args:
            slot: the actor's slot.
            actor: the actor; if the slot has another one by now, nothing happens.
            error: why it is dead. A ClusterLost ends the whole pool.
        """
        if isinstance(error, ClusterLost):
            self._fail_lost(str(error))
        with self._changed:
            if slot.actor is not actor or slot.state != "ready":
                return
            slot.state = "starting"
            slot.died.set()
        log.warning("%s has died: %s", slot.name, error)

    def give_up(self, reason: str, hint: str) -> None:
        """End the pool with an error."""
        self._fail(KbjobsError(reason, hint))

    def stop(self) -> None:
        """Begin nothing more; blocks on their way get a few seconds to finish."""
        with self._changed:
            self._stopped_at = self._stopped_at or time.monotonic()
            self._changed.notify_all()

    def close(self) -> None:
        """End the actors."""
        with self._changed:
            self._is_closing = True
            self._stopped_at = self._stopped_at or time.monotonic()
            self._changed.notify_all()
            slots = list(self._slots)
        for slot in slots:
            slot.died.set()
            self._kill(slot)

    def _wait(self) -> None:
        """Wait until something has changed. Raises as :meth:`take` does."""
        self.check()
        if self._stopped_at is not None:
            raise Closing
        self._changed.wait(LOOK_SECONDS)

    def _find(self, alone: bool) -> ActorSlot | None:
        """Find the ready slot with the fewest blocks that may take one more, or may be cleared."""
        free = [
            slot
            for slot in self._slots
            if slot.state == "ready" and not slot.is_reserved and (alone or slot.blocks < BLOCKS_AT_ONCE)
        ]
        return min(free, key=lambda slot: (slot.blocks, slot.number), default=None)

    def _clear(self, slot: ActorSlot) -> bool:
        """Reserve a slot, and wait until it has no block; False if its actor dies in the meantime."""
        slot.is_reserved = True
        try:
            while slot.blocks and slot.state == "ready":
                self._wait()
        except BaseException:
            slot.is_reserved = False
            raise
        slot.is_reserved = slot.state == "ready"
        return slot.is_reserved

    def _count(self, state: str) -> int:
        return sum(slot.state == state for slot in self._slots)

    def _is_over(self) -> bool:
        """Whether no answer is worth waiting for."""
        self._notice_silence()
        is_late = self._stopped_at is not None and time.monotonic() - self._stopped_at > _STOP_SECONDS
        return self._is_closing or self._failure is not None or is_late

    def _notice_silence(self) -> None:
        silent = time.monotonic() - self._heard_at
        if self._failure is None and silent > max(self._room.wait, _SILENCE_SECONDS):
            self._fail_lost(f"no answer for {silent:.0f} s")

    def _hear(self) -> None:
        self._heard_at = time.monotonic()

    def _fail(self, error: KbjobsError) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _fail_lost(self, reason: str) -> None:
        self._connection.is_lost = True
        self._fail(
            JobInterrupted(
                f"{self._connection.describe()} has gone away: {reason}",
                "What was embedded is kept.",
            )
        )

    def _watch_nodes(self) -> None:
        """Look at the list of nodes repeatedly; give new nodes slots, and give up if none can serve."""
        while not self._is_closing:
            try:
                found = self._connection.ray.nodes()
            except Exception as error:  # noqa: BLE001 — Ray raises many kinds; silence is judged in check()
                if not self._is_closing:
                    log.warning("the cluster's nodes cannot be listed: %s", error)
            else:
                self._hear()
                self._update_nodes(found)
                self._judge()
            with self._changed:
                self._changed.wait_for(lambda: self._is_closing, _NODES_SECONDS)

    def _update_nodes(self, found: Sequence[dict[str, Any]]) -> None:
        alive = {node["NodeID"]: node for node in found if node["Alive"]}
        for node in self._nodes.values():
            if node.is_alive and node.id not in alive:
                with self._changed:
                    node.is_alive = False
                    self._changed.notify_all()
                log.warning("node %s has left the cluster", node.address)
        for key in sorted(alive.keys() - self._nodes.keys()):
            if spare := plan_slots(alive[key]["Resources"], self._room.cpus):
                self._nodes[key] = Node(key, _address(alive[key]), spare)
        nodes = [node for node in self._nodes.values() if node.is_alive]
        while not self._room.actors or self.actors < self._room.actors:
            # Node by node in turn, so that a limit leaves no node idle.
            roomiest = max(nodes, key=lambda node: len(node.spare), default=None)
            if roomiest is None or not roomiest.spare:
                break
            self._add_slot(roomiest, *roomiest.spare.pop())

    def _add_slot(self, node: Node, cpus: float, gpus: int) -> None:
        with self._changed:
            slot = ActorSlot(len(self._slots) + 1, node, cpus, gpus)
            self._slots.append(slot)
            self._changed.notify_all()
        threading.Thread(target=self._keep, args=(slot,), name=f"ray-slot-{slot.number}", daemon=True).start()

    def _keep(self, slot: ActorSlot) -> None:
        """Keep an actor on a slot as long as its node serves."""
        while not self._is_closing and self._failure is None and slot.node.is_alive:
            slot.died.clear()
            try:
                start_actor(self.caller, slot, self.work)
            except Closing:
                return
            except ClusterLost as error:
                self._fail_lost(str(error))
                return
            except NodeDied as error:
                log.warning("%s: %s", slot.name, error)
                self._await_departure(slot.node)
                continue
            except ActorDied as error:
                self._kill(slot)  # the actor may still be waiting for CPUs
                slot.deaths += 1
                log.warning("%s died at its start: %s", slot.name, error)
                if slot.deaths >= DEATHS:
                    slot.refusal = f"its actors die at their start: {error}"
            except Exception as error:
                log.exception("%s cannot be started", slot.name)
                slot.refusal = f"{type(error).__name__}: {error}"
            else:
                slot.deaths = 0
            if slot.refusal:
                log.error("%s is not used: %s", slot.name, slot.refusal)
                slot.node.spare.clear()
                break
            self._serve(slot)
        with self._changed:
            slot.state = "gone"
            self._changed.notify_all()
        self._kill(slot)

    def _await_departure(self, node: Node) -> None:
        """Wait until the list of nodes confirms the death that an actor's error reported, so that no actor is started
        there."""
        with self._changed:
            self._changed.wait_for(lambda: not node.is_alive or self._is_closing, _DEPARTURE_SECONDS)

    def _serve(self, slot: ActorSlot) -> None:
        """Let a proven actor work until it dies."""
        if slot.deaths:
            return
        with self._changed:
            slot.state = "ready"
            self._changed.notify_all()
            ready = self._count("ready")
        log.info("%d of %s ready", ready, counted(self.actors, "actor"))
        while not slot.died.wait(LOOK_SECONDS):
            if not slot.node.is_alive:
                with self._changed:
                    slot.state = "starting"
                return
        self._kill(slot)

    def _kill(self, slot: ActorSlot) -> None:
        if slot.actor is not None and not self._connection.is_lost:
            with contextlib.suppress(Exception):  # the actor may be dead, and Ray with it
                self._connection.ray.kill(slot.actor)

    def _judge(self) -> None:
        """Give up if no slot can serve any longer."""
        slots = list(self._slots)
        now = time.monotonic()
        if any(slot.state == "ready" or (slot.state == "starting" and slot.is_reached) for slot in slots):
            self._reached_at = now
            return
        refused = {slot.node.address: slot.refusal for slot in slots if slot.refusal}
        if slots and all(slot.state == "gone" for slot in slots) and refused and self._all_alive_refuse():
            reasons = "; ".join(f"{address}: {reason}" for address, reason in refused.items())
            hint = "Correct that, then go on with kbjobs resume JOB."
            self._fail(KbjobsError(f"no node of the Ray cluster can be used: {reasons}", hint))
        elif now - self._reached_at > self._room.wait:
            count = sum(node.is_alive for node in self._nodes.values())
            reason = f"no CPU of its {counted(count, 'node')} was free" if count else "it has no node with CPUs"
            self._fail(
                JobInterrupted(
                    f"{self._connection.describe()} has no room: {reason} for {self._room.wait:.0f} s",
                    "ray status shows its nodes and their load; with a higher setting ray.wait a job waits longer.",
                )
            )

    def _all_alive_refuse(self) -> bool:
        refusing = {slot.node.id for slot in self._slots if slot.refusal}
        return all(node.id in refusing for node in self._nodes.values() if node.is_alive)


def plan_slots(resources: dict[str, float], cpus: int) -> list[tuple[float, int]]:
    """Plan the CPUs and GPUs of each actor of a node: one actor per GPU, or one per ``cpus`` CPUs if there is none.

    A node without CPUs does no work; the head of a cluster may be such a node.
    """
    total, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if not total:
        return []
    if gpus:
        return [(min(float(cpus), total / gpus), 1)] * gpus
    return [(float(min(cpus, total)), 0)] * max(1, total // cpus)


def _address(node: dict[str, Any]) -> str:
    host, address = node.get("NodeManagerHostname", ""), node["NodeManagerAddress"]
    return f"{host} ({address})" if host and host != address else str(address)
