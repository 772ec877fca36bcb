"""The pool of actors: as many as the cluster has room for, each replaced when it dies, all ended with the job."""

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
    Caller,
    Closing,
    ClusterLost,
    Node,
    NodeDied,
    Work,
    start_actor,
)
from kbjobs.embedding.cluster.ray_connection import Connection, Tell
from kbjobs.errors import JobInterrupted, KbjobsError
from kbjobs.formatting import counted

log = logging.getLogger(__name__)

_NODES_SECONDS = 2.0  # between two looks at which nodes there are
_SILENCE_SECONDS = 10.0  # that a cluster may be silent, however short the wait
_DEPARTURE_SECONDS = 30.0  # after which a node that is said to be dead, and is listed, is tried again
_STOP_SECONDS = 5.0  # in which what is on its way may come when the job is to stop


@dataclass(frozen=True)
class Room:
    """How much of a cluster a job takes."""

    actors: int = 0
    """At most so many; 0: as many as find room, also on nodes that join later."""
    cpus: int = 4
    """CPUs of an actor."""
    wait: float = 60.0
    """Seconds without any answer, or without any node, after which the cluster counts as gone."""


class Pool:
    """All seats. A thread watches the nodes, another for each seat sees to its actor.

    Whoever embeds takes a seat with :meth:`take`, and says with :meth:`bury` that its actor has died.
    """

    def __init__(self, connection: Connection, work: Work, room: Room) -> None:
        self._connection = connection
        self.work = work
        self._room = room
        self._changed = threading.Condition()
        self._seats: list[ActorSlot] = []
        self._nodes: dict[str, Node] = {}
        self._is_closing = False
        self._stopped_at: float | None = None
        self._failure: KbjobsError | None = None
        self._heard_at = self._reached_at = time.monotonic()
        self.caller = Caller(connection.ray, self._is_over, self._hear)

    @property
    def actors(self) -> int:
        """How many actors there are, or are to be in a moment: more or fewer as nodes join and leave."""
        return len(self._seats) - self._count("gone")

    @property
    def ready(self) -> int:
        """How many are ready now."""
        return self._count("ready")

    def open(self, tell: Tell) -> None:
        """Start actors on all nodes, and wait until the first is ready.

        Raises:
            KbjobsError: no node can be used; the message says why.
            JobInterrupted: there is no room, or the cluster went away.
        """
        threading.Thread(target=self._watch_nodes, name="ray-nodes", daemon=True).start()
        while True:
            with self._changed:
                self._changed.wait(LOOK_SECONDS)
                ready, seats, nodes = self._count("ready"), len(self._seats), len(self._nodes)
                self.check()
            places = f"{ready} of {counted(seats, 'actor')} on {counted(nodes, 'node')} ready"
            tell(places if seats else "looking at the cluster's nodes")
            if ready:
                return

    def check(self) -> None:
        """Raise what the pool has failed with, if it has."""
        self._notice_silence()
        if self._failure is not None:
            raise self._failure

    def engines(self) -> list[str]:
        """The engines that actors have run, by name."""
        return sorted({seat.engine for seat in self._seats if seat.engine})

    @contextmanager
    def take(self, *, alone: bool = False) -> Iterator[ActorSlot]:
        """A seat whose actor is ready, for one block; with ``alone`` no other block is there meanwhile.

        Raises:
            KbjobsError: the pool has failed.
            Closing: nothing is to be begun any more.
        """
        with self._changed:
            while (seat := self._find(alone)) is None or (alone and not self._clear(seat)):
                self._wait()
            seat.blocks += 1
        try:
            yield seat
        finally:
            with self._changed:
                seat.blocks -= 1
                seat.is_reserved = seat.is_reserved and not alone
                self._changed.notify_all()

    def bury(self, seat: ActorSlot, actor: Any, error: Exception) -> None:
        """Say that a seat's actor has died, or is to be replaced; the first who says so has it done."""
        if isinstance(error, ClusterLost):
            self._fail_lost(str(error))
        with self._changed:
            if seat.actor is not actor or seat.state != "ready":
                return
            seat.state = "starting"
            seat.died.set()
        log.warning("%s has died: %s", seat.name, error)

    def give_up(self, reason: str, hint: str) -> None:
        """End all with an error."""
        self._fail(KbjobsError(reason, hint))

    def stop(self) -> None:
        """Begin nothing more; what is on its way is waited for, for a few seconds."""
        with self._changed:
            self._stopped_at = self._stopped_at or time.monotonic()
            self._changed.notify_all()

    def close(self) -> None:
        """End the actors."""
        with self._changed:
            self._is_closing = True
            self._stopped_at = self._stopped_at or time.monotonic()
            self._changed.notify_all()
            seats = list(self._seats)
        for seat in seats:
            seat.died.set()
            self._kill(seat)

    def _wait(self) -> None:
        """Wait until something has changed. Raises as :meth:`take`."""
        self.check()
        if self._stopped_at is not None:
            raise Closing
        self._changed.wait(LOOK_SECONDS)

    def _find(self, alone: bool) -> ActorSlot | None:
        """The ready seat with the fewest blocks, where it may take one more or is to be cleared."""
        free = [
            seat
            for seat in self._seats
            if seat.state == "ready" and not seat.is_reserved and (alone or seat.blocks < BLOCKS_AT_ONCE)
        ]
        return min(free, key=lambda seat: (seat.blocks, seat.number), default=None)

    def _clear(self, seat: ActorSlot) -> bool:
        """Reserve a seat, and wait until it has no block; False where its actor has died meanwhile."""
        seat.is_reserved = True
        try:
            while seat.blocks and seat.state == "ready":
                self._wait()
        except BaseException:
            seat.is_reserved = False
            raise
        seat.is_reserved = seat.state == "ready"
        return seat.is_reserved

    def _count(self, state: str) -> int:
        return sum(seat.state == state for seat in self._seats)

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
        """Look which nodes there are, again and again; give the new ones seats, and give up where none is left."""
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
            # In turns, so that a limit leaves no node idle.
            roomiest = max(nodes, key=lambda node: len(node.spare), default=None)
            if roomiest is None or not roomiest.spare:
                break
            self._add_seat(roomiest, *roomiest.spare.pop())

    def _add_seat(self, node: Node, cpus: float, gpus: int) -> None:
        with self._changed:
            seat = ActorSlot(len(self._seats) + 1, node, cpus, gpus)
            self._seats.append(seat)
            self._changed.notify_all()
        threading.Thread(target=self._keep, args=(seat,), name=f"ray-seat-{seat.number}", daemon=True).start()

    def _keep(self, seat: ActorSlot) -> None:
        """See to a seat's actor as long as its node serves."""
        while not self._is_closing and self._failure is None and seat.node.is_alive:
            seat.died.clear()
            try:
                start_actor(self.caller, seat, self.work)
            except Closing:
                return
            except ClusterLost as error:
                self._fail_lost(str(error))
                return
            except NodeDied as error:
                log.warning("%s: %s", seat.name, error)
                self._await_departure(seat.node)
                continue
            except ActorDied as error:
                self._kill(seat)  # it may still be waiting for CPUs
                seat.deaths += 1
                log.warning("%s died at its start: %s", seat.name, error)
                if seat.deaths >= DEATHS:
                    seat.refusal = f"its actors die at their start: {error}"
            except Exception as error:
                log.exception("%s cannot be started", seat.name)
                seat.refusal = f"{type(error).__name__}: {error}"
            else:
                seat.deaths = 0
            if seat.refusal:
                log.error("%s is not used: %s", seat.name, seat.refusal)
                seat.node.spare.clear()
                break
            self._serve(seat)
        with self._changed:
            seat.state = "gone"
            self._changed.notify_all()
        self._kill(seat)

    def _await_departure(self, node: Node) -> None:
        """Wait until the list of nodes says what an actor has said, so that no other is started on a dead node."""
        with self._changed:
            self._changed.wait_for(lambda: not node.is_alive or self._is_closing, _DEPARTURE_SECONDS)

    def _serve(self, seat: ActorSlot) -> None:
        """Let a proven actor work until it has died."""
        if seat.deaths:
            return
        with self._changed:
            seat.state = "ready"
            self._changed.notify_all()
            ready = self._count("ready")
        log.info("%d of %s ready", ready, counted(self.actors, "actor"))
        while not seat.died.wait(LOOK_SECONDS):
            if not seat.node.is_alive:
                with self._changed:
                    seat.state = "starting"
                return
        self._kill(seat)

    def _kill(self, seat: ActorSlot) -> None:
        if seat.actor is not None and not self._connection.is_lost:
            with contextlib.suppress(Exception):  # it may be dead, and Ray with it
                self._connection.ray.kill(seat.actor)

    def _judge(self) -> None:
        """Give up where no seat can serve any more."""
        seats = list(self._seats)
        now = time.monotonic()
        if any(seat.state == "ready" or (seat.state == "starting" and seat.is_reached) for seat in seats):
            self._reached_at = now
            return
        refused = {seat.node.address: seat.refusal for seat in seats if seat.refusal}
        if seats and all(seat.state == "gone" for seat in seats) and refused and self._all_alive_refuse():
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
        refusing = {seat.node.id for seat in self._seats if seat.refusal}
        return all(node.id in refusing for node in self._nodes.values() if node.is_alive)


def plan_slots(resources: dict[str, float], cpus: int) -> list[tuple[float, int]]:
    """CPUs and GPUs of each actor of a node: one a GPU where it has some, else one for each ``cpus`` CPUs.

    A node without CPUs, as the head of a cluster may be, is to do no work.
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
