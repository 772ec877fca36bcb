"""Foreign texts: nothing hidden, parts that are the whole, a mark that no page can close."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.assistant.foreign_text import ForeignMark, cut_into_parts, remove_hidden, shorten


@given(st.text(alphabet="ab \n", max_size=300), st.integers(min_value=2, max_value=40))
def test_parts_are_the_whole_text(text: str, size: int) -> None:
    parts = cut_into_parts(text, size)
    assert "".join(parts) == text
    assert all(0 < len(part) <= size for part in parts) or parts == [""]


def test_a_part_ends_with_a_line_or_a_word() -> None:
    assert cut_into_parts("one two\nthree four", 12) == ["one two\n", "three four"]
    assert cut_into_parts("one two three four", 12) == ["one two ", "three four"]
    assert cut_into_parts("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb\x00c\x9bd", "a[2Jbcd"),
        ("safe\u202egnp.exe", "safegnp.exe"),
        ("seen" + "".join(chr(0xE0000 + ord(letter)) for letter in "hidden orders"), "seen"),
        ("one\r\ntwo\rthree\u2028four\tfive", "one\ntwo\nthree\nfour\tfive"),
        ("می\u200cخواهم 👩\u200d🚀", "می\u200cخواهم 👩\u200d🚀"),
        ("cut \ud800 off", "cut  off"),
    ],
)
def test_what_a_reader_does_not_see_is_removed(text: str, shown: str) -> None:
    assert remove_hidden(text) == shown


def test_each_answer_has_a_mark_of_its_own() -> None:
    first, second = ForeignMark().around("text"), ForeignMark().around("text")
    assert first != second
    mark = ForeignMark()
    opening, text, closing = mark.around("text").split("\n")
    assert text == "text" and closing == f"</{opening[1:]}"
    assert opening in mark.notice and closing in mark.notice


def test_shorten() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3) == "ab…"
