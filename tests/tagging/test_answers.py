"""The schema is one that the API takes, and an answer is believed as far as it can be checked."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from kbjobs.store.tag_rows import TaggedDocument
from kbjobs.tagging.answers import MAX_NOVEL, FoundTag, UnusableAnswerError, answer_schema, check_answer
from kbjobs.tagging.limits import max_tokens
from kbjobs.tagging.vocabulary import BUILT_IN
from tests.servers.openai_chat import find_schema_fault

SHOWN = [TaggedDocument(f"id{number}", "root/x.html", "", f"Page {number}", "") for number in range(1, 11)]


def check(tags: list[Any], novel: list[Any], count: int = 10) -> list[FoundTag]:
    return check_answer(json.dumps({"tags": tags, "novel": novel}), SHOWN[:count], BUILT_IN)


def entry(tag: str, *documents: int) -> dict[str, Any]:
    return {"tag": tag, "documents": list(documents)}


def test_the_schema_is_strict() -> None:
    schema = answer_schema(BUILT_IN)
    assert find_schema_fault(schema) is None
    assert schema["properties"]["tags"]["items"]["properties"]["tag"]["enum"] == [
        category.tag for category in BUILT_IN.categories
    ]


def test_a_schema_that_is_not_strict_is_refused_by_the_server() -> None:
    def broken(change: Any) -> str | None:
        schema = copy.deepcopy(answer_schema(BUILT_IN))
        change(schema["properties"]["tags"]["items"])
        return find_schema_fault(schema)

    assert "additionalProperties" in (broken(lambda entry: entry.pop("additionalProperties")) or "")
    assert "'required' is required" in (broken(lambda entry: entry["required"].pop()) or "")
    assert "'maxLength' is not permitted" in (
        broken(lambda entry: entry["properties"]["tag"].update(maxLength=3)) or ""
    )
    assert "missing items" in (broken(lambda entry: entry["properties"]["documents"].pop("items")) or "")
    assert 'type: "object"\'' in (find_schema_fault({"type": "array", "items": {"type": "string"}}) or "")


def test_a_tag_has_only_documents_that_were_shown_each_once() -> None:
    assert check([entry("water", 2, 2, 11, 0, -1, 10)], []) == [FoundTag("water", "category", ("id2", "id10"))]


def test_a_novel_tag_needs_two_documents_where_there_are_many() -> None:
    assert check([entry("water", 1)], [entry("boats", 3)]) == [FoundTag("water", "category", ("id1",))]
    assert check([], [entry("boats", 3)], 7) == [FoundTag("boats", "novel", ("id3",))]
    assert check([], [entry("boats", 3), entry("Boats", 4)]) == [FoundTag("boats", "novel", ("id3", "id4"))]


def test_a_category_that_is_called_novel_is_a_category() -> None:
    assert check([], [entry("First  Aid", 1)]) == [FoundTag("first aid", "category", ("id1",))]


def test_there_are_no_more_novel_tags_than_asked_for() -> None:
    found = check([], [entry(f"boats {number}", 1, 2) for number in range(9)])
    assert [tag.name for tag in found] == [f"boats {number}" for number in range(MAX_NOVEL)]


def test_a_list_beyond_reason_is_no_answer() -> None:
    for number, message in ((100, "it lists 100 tags"), (10_000, "it has 3.* characters")):
        with pytest.raises(UnusableAnswerError, match=message):
            check([], [entry("boats", 1, 2)] * number)
    assert check([entry("water", 1)] * 60, [])


def test_where_nothing_can_be_used_there_is_no_answer() -> None:
    with pytest.raises(UnusableAnswerError, match="none of its tags"):
        check([entry("water", 11)], [entry("\x07", 1, 2)])
    assert check([], []) == []


def test_the_most_that_can_be_sent_grows_with_the_vocabulary() -> None:
    assert max_tokens(17) < max_tokens(200)
