"""What is accepted becomes the user's own, what is rejected stays away, and nothing is done by half."""

from __future__ import annotations

from typing import Any

import pytest

from kbjobs.errors import NotFoundError, UsageError
from kbjobs.store.sources import Source
from kbjobs.tagging.review import Review, review


def suggested(*names: str) -> dict[str, Any]:
    return {"state": "s", "tags": [{"tag": name, "kind": "category"} for name in names]}


SOURCE = Source(
    "docs", ("/pages",), tags=("mine",), suggested_tags=suggested("water", "first aid", "fire"), rejected_tags=("old",)
)


def decide(*accept: str, reject: tuple[str, ...] = (), accept_all: bool = False, source: Source = SOURCE) -> Review:
    return review(source, accept, reject, accept_all)


def left(reviewed: Review) -> list[str]:
    assert reviewed.source.suggested_tags is not None
    return [tag["tag"] for tag in reviewed.source.suggested_tags["tags"]]


def test_accepted_tags_move_to_the_users_own() -> None:
    found = decide("Water", "FIRST  aid")
    assert found.source.tags == ("mine", "water", "first aid")
    assert (left(found), found.accepted) == (["fire"], ("water", "first aid"))
    assert found.source.suggested_tags is not None and found.source.suggested_tags["state"] == "s"


def test_rejected_tags_are_remembered() -> None:
    found = decide(reject=("fire",))
    assert (found.source.tags, found.source.rejected_tags) == (("mine",), ("old", "fire"))
    assert left(found) == ["water", "first aid"]


def test_all_but_some_are_taken_over() -> None:
    found = decide(accept_all=True, reject=("fire",))
    assert (found.source.tags, found.source.rejected_tags) == (("mine", "water", "first aid"), ("old", "fire"))
    assert left(found) == []
    assert decide(accept_all=True, source=Source("docs", ("/pages",))).source.tags == ()


def test_either_can_be_taken_back() -> None:
    found = decide("old", reject=("mine",))
    assert (found.source.tags, found.source.rejected_tags) == (("old",), ("mine",))


def test_what_was_decided_before_is_not_done_twice() -> None:
    once = decide("water")
    again = decide("water", source=once.source)
    assert again.source == once.source
    both = Source("docs", ("/pages",), tags=("Water",), suggested_tags=suggested("water"))
    assert decide("water", source=both).source.tags == ("Water",)


def test_a_tag_nobody_knows_changes_nothing() -> None:
    with pytest.raises(NotFoundError, match="'watr' is not suggested for 'docs'") as caught:
        decide("fire", "watr")
    assert "Did you mean 'water'?" in caught.value.hint
    with pytest.raises(UsageError, match="accepted and rejected"):
        decide("fire", reject=("FIRE",))


@pytest.mark.parametrize("tags", [None, 3, "water", [3, None, {"tag": 7}, {"kind": "category"}, {"tag": "water"}]])
def test_a_manifest_edited_by_hand_is_borne(tags: Any) -> None:
    source = Source("docs", ("/pages",), suggested_tags={"tags": tags})
    found = decide(accept_all=True, source=source)
    assert found.source.tags == (("water",) if isinstance(tags, list) else ())
    if isinstance(tags, list):
        assert found.source.suggested_tags == {"tags": tags[:-1]}
