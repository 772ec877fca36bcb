"""How much of a node is taken, and what is made of what Ray says."""

from __future__ import annotations

import pytest

from kbjobs.embedding.cluster.pool import plan_seats
from kbjobs.embedding.cluster.seats import ActorDied, ClusterLost, NodeDied, _sort


@pytest.mark.parametrize(
    ("resources", "seats"),
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
def test_a_node_has_seats_for_its_cpus_or_gpus(resources: dict[str, float], seats: list[tuple[float, int]]) -> None:
    assert plan_seats(resources, 4) == seats


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
