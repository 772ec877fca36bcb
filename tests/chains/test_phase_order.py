"""The order of phases: advice and conflicts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kbjobs.chains.phase_order import order_conflicts, order_warnings
from kbjobs.phases.job_type import JobType
from kbjobs.phases.registry import job_type


def kind(name: str, **rules: tuple[str, ...]) -> JobType[Any]:
    """A job type with nothing but rules of order."""
    without: dict[str, Any] = {"before": (), "after": (), "conflicts": ()}
    return replace(job_type("index-online"), name=name, label=name.title(), **{**without, **rules})


A, B, C = kind("a"), kind("b", after=("a",)), kind("c", before=("b",))


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([A, B], []),
        ([B, A], ["B runs before A"]),
        ([C, A, B], []),
        ([B, C], ["B runs before C"]),
        ([B, C, A], ["B runs before C", "B runs before A"]),
        ([A, B, A], []),  # once before is enough
        ([B, B, A, A], ["B runs before A"]),
        ([B, A, B], ["B runs before A"]),
        ([A, A], []),
        ([B], []),
        ([B, None, A], ["B runs before A"]),
        ([kind("d", after=("e",)), kind("e", after=("d",))], []),  # neither is right
        ([], []),
    ],
)
def test_what_had_better_come_first(kinds: list[JobType[Any] | None], said: list[str]) -> None:
    found = order_warnings(kinds)
    assert [one.message for one in found] == said
    assert all(one.severity == "warning" and one.kind == "order" for one in found)


LAST, PICKY = kind("last", conflicts=("*",)), kind("picky", conflicts=("a",))


@pytest.mark.parametrize(
    ("kinds", "places"),
    [
        ([A, B, LAST], []),
        ([LAST, A, B], [1, 2]),
        ([LAST, LAST], [1]),
        ([A, LAST, None, B], [3]),
        ([PICKY, B, A], [2]),
        ([A, PICKY], []),
    ],
)
def test_what_may_not_come_after(kinds: list[JobType[Any] | None], places: list[int]) -> None:
    found = order_conflicts(kinds)
    assert [one.path for one in found] == [("phase", place, "job") for place in places]
    assert all(one.severity == "error" for one in found)
