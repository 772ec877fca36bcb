"""A text in blocks: paragraphs, and what is left alone between them; however it comes, and however long it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.translation.text_blocks import MAX_BLOCK, read_blocks


def prose(text: str, *, size: int = 100_000) -> list[str]:
    blocks = list(read_blocks(text[start : start + size] for start in range(0, len(text), size)))
    assert "".join(block.text for block in blocks) == text
    return [block.text for block in blocks if not block.is_kept]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("one\ntwo\n\nthree", ["one\ntwo\n", "three"]),
        ("\n\n  \n", []),
        ("one\r\ntwo\r\n\r\nthree", ["one\r\ntwo\r\n", "three"]),
        ("one\n```python\nnot\n\nnot\n```\ntwo\n", ["one\n", "two\n"]),
        ("~~~\nnot\n```\nnot\n~~~~\ntwo", ["two"]),
        ("````\nnot\n```\nnot\n````\ntwo", ["two"]),
        ("```\nnot to the end\n\nnot", []),
        ("one ``` two\nthree", ["one ``` two\nthree"]),
        ("```one``` line\ntwo", ["```one``` line\ntwo"]),
        ("one <pre>not\n\nnot</pre> two", ["one ", " two"]),
        ("<SCRIPT src=x>\nnot()\n\n</SCRIPT >\ntwo", ["two"]),
        ("<style>\nnot\n</style>\n<!-- not\n\nnot --> two", [" two"]),
        ("a `<script>` in code\n\ntwo", ["a `<script>` in code\n", "two"]),
        ("a <pre>x</pre> in a line\ntwo", ["a <pre>x</pre> in a line\ntwo"]),
        ("<prelude> is no pre\n\ntwo", ["<prelude> is no pre\n", "two"]),
    ],
)
def test_blocks(text: str, expected: list[str]) -> None:
    assert prose(text) == expected
    assert prose(text, size=1) == expected


@given(st.text(alphabet="a`~<>/pre!-\n \r", max_size=80), st.integers(1, 9))
def test_nothing_is_lost_however_it_comes(text: str, size: int) -> None:
    assert prose(text, size=size) == prose(text)


def test_a_long_line_is_cut_behind_a_sentence() -> None:
    text = "Water boils. " * 4_000
    found = prose(text)
    assert len(found) > 3
    assert max(map(len, found)) <= MAX_BLOCK
    assert all(block.endswith("boils. ") for block in found)


@pytest.mark.parametrize("text", ["word " * 10_000, "x" * 50_000, "水" * 50_000, "line of words\n" * 5_000])
def test_no_block_is_larger(text: str) -> None:
    assert max(map(len, prose(text))) <= MAX_BLOCK


def test_blocks_come_before_the_end_of_the_text() -> None:
    read = 0

    def pieces() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "A paragraph.\n\n"

    blocks = read_blocks(pieces())
    for _ in range(10):
        next(blocks)
    assert read < 20
