"""A mistake is shown with its line and a caret below the right characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.chains.diagnostics import MAX_SHOWN, MAX_WIDTH, Diagnostic, render, render_all, width
from kbjobs.chains.file.positions import locate


def shown(line: str, column: int, length: int = 1) -> tuple[str, str]:
    """The line and the carets as they are shown, without the number of the line."""
    text = render(Diagnostic("value", "wrong", line=1, column=column, length=length), "x.toml", line)
    _, first, second = text.split("\n")
    assert (first + " ").startswith(" 1 | ") and second.startswith("   | ")
    return first[5:], second[5:]


def test_the_whole_of_it() -> None:
    text = "a = 1\nb = 2\n"
    one = Diagnostic("value", "b is 2", line=2, column=5, expected="3", hint="did you mean 3?")
    assert render(one, "dir/x.toml", text) == (
        "dir/x.toml:2:5: error: b is 2\n 2 | b = 2\n   |     ^\n   expected 3\n   did you mean 3?"
    )
    assert render(Diagnostic("order", "so it is", severity="warning"), "", "") == ": warning: so it is"


@pytest.mark.parametrize(
    ("line", "column", "length", "expected"),
    [
        ("abc", 1, 3, ("abc", "^^^")),
        ("abc", 4, 1, ("abc", "   ^")),
        ("\tab", 2, 2, ("    ab", "    ^^")),
        ("ab\tcd", 4, 2, ("ab  cd", "    ^^")),
        ("ab\tcd", 3, 1, ("ab  cd", "  ^^")),
        ("日本x", 3, 1, ("日本x", "    ^")),
        ("日本x", 1, 2, ("日本x", "^^^^")),
        ("e\u0301x", 3, 1, ("e\u0301x", " ^")),
        ("a\x1bx", 3, 1, ("a\\x1bx", "     ^")),
        ("a\u202ex", 2, 1, ("a\\u202ex", " ^^^^^^")),
        ("", 1, 1, ("", "^")),
        ("abc", 2, 100, ("abc", " ^^")),
    ],
)
def test_the_caret_is_below_its_character(line: str, column: int, length: int, expected: tuple[str, str]) -> None:
    assert shown(line, column, length) == expected


@given(st.text(max_size=400), st.integers(0, 400), st.integers(1, 400))
def test_a_long_line_is_cut_around_the_caret(text: str, start: int, length: int) -> None:
    line = text.replace("\n", " ")
    start = min(start, len(line))
    first, second = shown(line, start + 1, length)
    assert first.isprintable() and width(first) <= MAX_WIDTH + 2
    assert width(second) <= MAX_WIDTH + 10
    assert second.strip() == "^" * len(second.strip())


@pytest.mark.parametrize("size", [150, 5000, 200_000])
@pytest.mark.parametrize("where", [0, 50, -1])
def test_the_marked_word_is_seen_in_a_long_line(size: int, where: int) -> None:
    start = where if where >= 0 else size
    line = "x" * start + "HERE" + "y" * (size - start)
    first, second = shown(line, start + 1, 4)
    assert first[second.index("^") : second.rindex("^") + 1] == "HERE"
    assert ("…" in first) == (size > 100)


def test_of_very_many_only_the_first_are_shown() -> None:
    many = [Diagnostic("value", f"number {n}") for n in range(MAX_SHOWN + 1)]
    assert render_all(many, "x", "").endswith(f"number {MAX_SHOWN - 1}\n… and more")
    assert "more" not in render_all(many[:-1], "x", "")


def test_as_json() -> None:
    one = Diagnostic("value", "wrong", line=3, column=4, length=2, expected="right")
    assert one.as_dict("x.toml") == {
        "file": "x.toml", "line": 3, "column": 4, "length": 2, "severity": "error", "kind": "value",
        "message": "wrong", "expected": "right", "hint": None,
    }  # fmt: skip
    assert Diagnostic("file", "wrong").as_dict("x")["length"] is None


TEXT = """\
a = 1
"b c".d = [ 10, { e = 20 }, # no value
  30 ]
[t]
'x y' = true
[t.u.v]
w = 5
[[p]]
q = 1
[p.r]
s = 2
[[p]]
q = { y = [[3], [4]], z.k = 1 }
[[p.n]]
m = \"\"\"
two lines\"\"\"
[[p.n]]
"é" = "日本" # wide
"""


@pytest.mark.parametrize(
    ("path", "at", "place"),
    [
        (("a",), "key", (1, 1, 1)),
        (("a",), "value", (1, 5, 1)),
        (("b c", "d"), "key", (2, 1, 7)),
        (("b c",), "key", (2, 1, 7)),
        (("b c", "d", 0), "value", (2, 13, 2)),
        (("b c", "d", 1, "e"), "value", (2, 23, 2)),
        (("b c", "d", 2), "value", (3, 3, 2)),
        (("t",), "key", (4, 2, 1)),
        (("t", "x y"), "key", (5, 1, 5)),
        (("t", "u", "v"), "value", (6, 2, 5)),
        (("t", "u", "v", "w"), "value", (7, 5, 1)),
        (("p", 0), "key", (8, 3, 1)),
        (("p", 0, "q"), "value", (9, 5, 1)),
        (("p", 0, "r", "s"), "value", (11, 5, 1)),
        (("p", 1), "key", (12, 3, 1)),
        (("p", 1, "q", "y", 1, 0), "value", (13, 18, 1)),
        (("p", 1, "q", "z", "k"), "key", (13, 23, 3)),
        (("p", 1, "n", 0, "m"), "value", (15, 5, 3)),
        (("p", 1, "n", 1, "é"), "value", (18, 7, 4)),
        (("p", 1, "n", 1, "nothing", "there"), "value", (17, 3, 3)),
    ],
)
def test_keys_and_values_are_found_in_the_text(
    path: tuple[str | int, ...], at: str, place: tuple[int, int, int]
) -> None:
    positions = locate(TEXT)
    points = positions.find(path, at)
    assert points is not None
    span = positions.span(points)
    assert (span.line, span.column, span.length) == place
