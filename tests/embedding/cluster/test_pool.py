"""How much of a node is taken, what is made of what Ray says, and how the pool holds out; without Ray."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from kbjobs.embedding.cluster import pool as pool_module
from kbjobs.embedding.cluster.actor_slots import (
    ActorDied,
    ActorSlot,
    Closing,
    ClusterLost,
    Node,
    NodeDied,
    _compare_versions,
    _sort,
)
from kbjobs.embedding.cluster.actors import Sight, describe_versions
from kbjobs.embedding.cluster.pool import Pool, Room, plan_slots
from kbjobs.errors import JobCancelled, JobInterrupted, KbjobsError
from tests.conftest import wait_until


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        ({"CPU": 0.0}, []),
        ({"memory": 1e9}, []),
        ({"CPU": 1.0}, [(1.0, 0)]),
        ({"CPU": 4.0}, [(4.0, 0)]),
        ({"CPU": 7.0}, [(4.0, 0)]),
        ({"CPU": 16.0}, [(4.0, 0)] * 4),
        ({"CPU": 16.0, "GPU": 2.0}, [(4.0, 1)] * 2),
        ({"CPU": 2.0, "GPU": 4.0}, [(0.5, 1)] * 4),
    ],
)
def test_a_node_has_slots_for_its_cpus_or_gpus(resources: dict[str, float], slots: list[tuple[float, int]]) -> None:
    assert plan_slots(resources, 4) == slots


def test_the_death_of_a_node_says_nothing_about_a_text() -> None:
    """What Ray 2.60 says; it has no fields for it."""
    node = _sort(
        Exception("The actor died unexpectedly.\n\tpid: 1\nThe actor died because its node has died. Node Id: b")
    )
    assert type(node) is NodeDied
    actor = _sort(
        Exception("The actor died.\nThe actor is dead because its worker process has died. Worker exit type: X")
    )
    assert type(actor) is ActorDied
    assert str(actor).startswith("The actor is dead because its worker process has died")
    assert type(_sort(Exception("The actor is dead because its owner has died. Owner Id: 0"))) is ClusterLost


def test_versions_that_matter_refuse_a_node_and_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    slot = ActorSlot(1, Node("a", "10.0.0.2"), 1.0, 0)
    here = describe_versions()
    caplog.set_level("INFO")
    assert _compare_versions(slot, Sight(here, 1)) == ""
    assert "actor 1 on 10.0.0.2: python 3." in caplog.text
    assert "other versions" not in caplog.text
    assert _compare_versions(slot, Sight({**here, "openvino": "2020.1"}, 1)) == ""
    assert f"actor 1 on 10.0.0.2 has other versions: openvino 2020.1 (here {here['openvino']}); parity" in caplog.text
    refusal = _compare_versions(slot, Sight({**here, "kbjobs": "0.0.1"}, 1))
    assert refusal.startswith(f"it runs kbjobs 0.0.1, not {here['kbjobs']}")


class Cluster:
    """Stands for Ray: nodes as a test makes them; ``start`` is what happens when an actor is started."""

    def __init__(self) -> None:
        self.cpus: dict[str, int] = {}
        self.started: list[str] = []
        self.killed: list[Any] = []
        self.start: Callable[[ActorSlot], None] = lambda slot: None
        self.silent = threading.Event()
        self.exceptions = SimpleNamespace(RayError=RuntimeError)

    def nodes(self) -> list[dict[str, Any]]:
        if self.silent.is_set():
            threading.Event().wait(3600)
        return [
            {"NodeID": name, "Alive": True, "NodeManagerAddress": name, "Resources": {"CPU": float(cpus)}}
            for name, cpus in self.cpus.items()
        ]

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def start_actor(self, caller: Any, slot: ActorSlot, work: Any) -> None:
        slot.is_reached = False
        self.started.append(slot.node.id)
        slot.actor = f"actor {len(self.started)}"
        self.start(slot)
        slot.is_reached = True


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(pool_module, "start_actor", cluster.start_actor)
    monkeypatch.setattr(pool_module, "_NODES_SECONDS", 0.02)
    monkeypatch.setattr(pool_module, "_SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(pool_module, "_STOP_SECONDS", 0.1)
    return cluster


@pytest.fixture
def make_pool(ray: Cluster) -> Iterator[Callable[..., Pool]]:
    made: list[Pool] = []

    def make(**room: Any) -> Pool:
        connection: Any = SimpleNamespace(ray=ray, is_lost=False, describe=lambda: "the Ray cluster at x:1")
        pool = Pool(connection, SimpleNamespace(), Room(**{"wait": 0.3, **room}))  # type: ignore[arg-type]
        made.append(pool)
        return pool

    yield make
    for pool in made:
        pool.close()


MakePool = Callable[..., Pool]


def die(error: Exception) -> Callable[[ActorSlot], None]:
    def start(slot: ActorSlot) -> None:
        raise error

    return start


def test_the_limit_leaves_no_node_idle(ray: Cluster, make_pool: MakePool) -> None:
    ray.cpus = {"a": 8, "b": 4, "c": 8, "head": 0}
    pool = make_pool(actors=3)
    pool.open(lambda doing: None)
    wait_until(lambda: pool.ready == 3)
    assert pool.actors == 3
    assert len(set(ray.started)) >= 2
    assert "head" not in ray.started


def pause(seconds: float) -> None:
    """Take so long to start."""
    threading.Event().wait(seconds)


def test_what_is_told_may_stop_the_start(ray: Cluster, make_pool: MakePool) -> None:
    ray.cpus = {"a": 4}
    ray.start = lambda slot: pause(0.5)
    messages: list[str] = []

    def report(doing: str) -> None:
        messages.append(doing)
        if "actor" in doing:
            raise JobCancelled("stopped")

    with pytest.raises(JobCancelled):
        make_pool(wait=60).open(report)
    assert messages[-1] == "0 of 1 actor on 1 node ready"


def test_a_dead_actor_is_replaced_once(ray: Cluster, make_pool: MakePool) -> None:
    ray.cpus = {"a": 4}
    pool = make_pool(wait=60)
    pool.open(lambda doing: None)
    with pool.take() as one, pool.take() as two:
        assert one is two
        actor = one.actor
        for _ in range(2):  # both blocks tell of it
            pool.bury(one, actor, ActorDied("killed"))
    wait_until(lambda: pool.ready == 1)
    assert len(ray.started) == 2
    with pool.take() as slot:
        assert slot.actor == "actor 2"


def test_nodes_that_join_are_used_and_those_that_leave_are_not_missed(ray: Cluster, make_pool: MakePool) -> None:
    ray.cpus = {"a": 4}
    pool = make_pool(wait=60)
    pool.open(lambda doing: None)
    wait_until(lambda: pool.ready == 1)
    ray.cpus = {"a": 4, "b": 4, "c": 8}
    wait_until(lambda: pool.ready == 4)
    assert (pool.actors, sorted(ray.started)) == (4, ["a", "b", "c", "c"])
    ray.cpus = {"b": 4}
    wait_until(lambda: pool.actors == pool.ready == 1)


def test_a_limit_holds_when_nodes_join_and_leave(ray: Cluster, make_pool: MakePool) -> None:
    ray.cpus = {"a": 4, "b": 4}
    pool = make_pool(wait=60, actors=2)
    pool.open(lambda doing: None)
    wait_until(lambda: pool.ready == 2)
    ray.cpus = {"b": 4, "c": 8}
    wait_until(lambda: sorted(ray.started) == ["a", "b", "c"] and pool.ready == 2)
    assert pool.actors == 2


def test_where_every_node_refuses_the_reasons_are_told(ray: Cluster, make_pool: MakePool) -> None:
    ray.cpus = {"a": 4, "b": 4}

    def refuse(slot: ActorSlot) -> None:
        slot.refusal = f"{slot.node.id} has no openvino"

    ray.start = refuse
    with pytest.raises(KbjobsError, match="no node of the Ray cluster can be used: ") as caught:
        make_pool(wait=60).open(lambda doing: None)
    assert not isinstance(caught.value, JobInterrupted)
    assert "a: a has no openvino" in caught.value.message
    assert "b: b has no openvino" in caught.value.message


def test_actors_that_die_at_their_start_are_given_up(ray: Cluster, make_pool: MakePool) -> None:
    ray.cpus = {"a": 4}
    ray.start = die(ActorDied("out of memory"))
    with pytest.raises(KbjobsError, match="its actors die at their start: out of memory"):
        make_pool(wait=60).open(lambda doing: None)
    assert len(ray.started) == 3


def test_a_node_that_is_said_to_be_dead_is_not_refused(ray: Cluster, make_pool: MakePool) -> None:
    ray.cpus = {"a": 4, "b": 4}

    def start(slot: ActorSlot) -> None:
        if slot.node.id == "a":
            raise NodeDied("its node has died")

    ray.start = start
    pool = make_pool(wait=60)
    pool.open(lambda doing: None)
    ray.cpus = {"b": 4}
    wait_until(lambda: pool._count("gone") == 1)
    assert ray.started.count("a") == 1
    pool.check()


def test_without_room_or_an_answer_the_job_is_interrupted(ray: Cluster, make_pool: MakePool) -> None:
    with pytest.raises(JobInterrupted, match="has no room: it has no node with CPUs"):
        make_pool().open(lambda doing: None)
    ray.cpus = {"a": 4}
    ray.start = lambda slot: pause(3)
    with pytest.raises(JobInterrupted, match="has no room: no CPU of its 1 node was free"):
        make_pool().open(lambda doing: None)
    ray.start = lambda slot: None
    pool = make_pool()
    pool.open(lambda doing: None)
    ray.silent.set()
    with pool.take():
        wait_until(pool._is_over)
    with pytest.raises(JobInterrupted, match="the Ray cluster at x:1 has gone away: no answer for"):
        pool.check()
    assert pool._connection.is_lost


def test_a_block_that_is_to_be_alone_waits_for_that_and_keeps_others_out(ray: Cluster, make_pool: MakePool) -> None:
    ray.cpus = {"a": 4}
    pool = make_pool(wait=60)
    pool.open(lambda doing: None)
    blocks: list[int] = []

    def take_alone() -> None:
        with pool.take(alone=True) as alone:
            blocks.append(alone.blocks)

    def take_late() -> None:
        with pool.take() as late:
            reserved.append(late.is_reserved)

    reserved: list[bool] = []
    threads = [threading.Thread(target=take_alone), threading.Thread(target=take_late)]
    with pool.take() as slot:
        threads[0].start()
        wait_until(lambda: slot.is_reserved)
        threads[1].start()
        assert not blocks
    for thread in threads:
        thread.join(timeout=10)
    assert (blocks, reserved) == ([1], [False])
    assert (slot.blocks, slot.is_reserved) == (0, False)


def test_nothing_is_begun_after_a_stop(ray: Cluster, make_pool: MakePool) -> None:
    ray.cpus = {"a": 4}
    pool = make_pool(wait=60)
    pool.open(lambda doing: None)
    with pool.take(), pool.take():
        pool.stop()
        with pytest.raises(Closing), pool.take():
            pass
        assert wait_until(pool._is_over, 5)  # and what is on its way is not waited for for ever
