"""Snippets and outlines."""

from __future__ import annotations

import pytest

from kbjobs.content.document import Block, Document
from kbjobs.content.document_metadata import HEADING_LENGTH, HEADING_LIMIT, SNIPPET_LIMIT, cut, read_metadata


def page(*blocks: Block) -> Document:
    return Document("1", "a", "file:///a", "T", "en", blocks, "h", 1, ())


@pytest.mark.parametrize(
    ("text", "limit", "shortened"),
    [
        ("short", 10, "short"),
        ("one  two\nthree", 20, "one two three"),
        ("exactly ten", 11, "exactly ten"),
        ("the kettle sings, loudly", 18, "the kettle sings…"),
        ("the kettle sings loudly", 20, "the kettle sings…"),
        ("x" * 50, 10, "x" * 9 + "…"),
        ("", 10, ""),
    ],
)
def test_a_text_is_cut_at_a_word(text: str, limit: int, shortened: str) -> None:
    assert cut(text, limit) == shortened
    assert len(shortened) <= limit


def test_the_snippet_is_text_and_only_for_want_of_it_headings() -> None:
    heading = Block("heading", 1, "Title")
    assert read_metadata(page(heading, Block("text", 0, "Some text."), Block("text", 0, "More."))).snippet == (
        "Some text. More."
    )
    assert read_metadata(page(heading)).snippet == "Title"
    long = read_metadata(page(*[Block("text", 0, f"Sentence {number} of many.") for number in range(100)])).snippet
    assert SNIPPET_LIMIT * 0.6 < len(long) <= SNIPPET_LIMIT


def test_headings_are_bounded_and_all_counted() -> None:
    found = read_metadata(page(*[Block("heading", 2, f"{number} " + "long " * 100) for number in range(500)]))
    assert (found.heading_count, len(found.headings)) == (500, HEADING_LIMIT)
    assert all(level == 2 and len(text) <= HEADING_LENGTH for level, text in found.headings)
    assert found.characters > 200_000
