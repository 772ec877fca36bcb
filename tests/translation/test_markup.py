"""What of a paragraph is left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.translation.markup import split_markup


def prose(text: str) -> list[str]:
    pieces = split_markup(text)
    if not any(piece.has_entities for piece in pieces):
        assert "".join(piece.text for piece in pieces) == text
    return [piece.text.strip() for piece in pieces if not piece.is_kept]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", ["plain words"]),
        ("a <b>bold</b> word", ["a", "bold", "word"]),
        ('<a href="x.html" title="not this">this</a>', ["this"]),
        ("<p\n class='x'>this</p><br/>that<hr>", ["this", "that"]),
        ("<!-- not\nthis --> this <!DOCTYPE html><?xml not?>", ["this"]),
        ("run <code>not this</code> and <kbd>Ctrl</kbd>", ["run", "and"]),
        ("<pre>not this</pre><script>not()</script>this<style>p {}</style>", ["this"]),
        ("a < b and c > d", ["a < b and c > d"]),
        ("run `not this` or ``not ` this`` now", ["run", "or", "now"]),
        ("one ` tick alone", ["one ` tick alone"]),
        ("see https://example.org/a_(b)?c=d#e. Then", ["see", ". Then"]),
        ("(see https://example.org/a), www.example.org!", ["(see"]),
        ("mail ann.lee@example.org now", ["mail", "now"]),
        ("Hello {name}, you have {{ count }} of ${TOTAL} or %(n)s, %s, %1$s", ["Hello", ", you have", "of", "or"]),
        ("50 % sure", ["50 % sure"]),
        ('see [the guide](https://x.org/y "not this") and ![a cat](cat.png)', ["see", "the guide", "and", "a cat"]),
        ("# Title", ["Title"]),
        ("- one\n* two\n1. three\n> four", ["one", "two", "three", "four"]),
        ("**bold** and _thin_ and snake_case", ["bold", "and", "thin", "and snake_case"]),
        ("| a | b |\n|---|---|", ["a", "b"]),
        ("caf&eacute; &amp; t&#233;", ["café & té"]),
        ("AT&T and &nosuchentity", ["AT&T and &nosuchentity"]),
        ("&nbsp; 12 – 34", []),
        ("12.5", []),
    ],
)
def test_prose(text: str, expected: list[str]) -> None:
    assert prose(text) == expected


@given(st.text(alphabet="a<>/`*_[]()!{}$%&;#-|\n \\\"'=:.@", max_size=60))
def test_nothing_is_lost(text: str) -> None:
    prose(text)


@pytest.mark.parametrize(
    "unit",
    [
        "<pre",
        "<code>",
        "`",
        "`a``",
        "[",
        "{{",
        "<!--",
        "a@",
        "a.",
        "http:",
        "(",
        "> ",
        "_",
        "%(",
        "!?",
        "a-a-",
        "![",
        "<a ",
    ],
)
def test_no_text_takes_long(unit: str) -> None:
    text = unit * (16_000 // len(unit))
    start = time.process_time()
    prose(text)
    assert time.process_time() - start < 2
