"""Where sentences end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.translation.sentences import split_sentences, unwrap, wrap_like


def texts(text: str) -> list[str]:
    found = split_sentences(text)
    assert "".join(sentence.gap + sentence.text for sentence in found) == text
    return [sentence.text for sentence in found if sentence.text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Boil it. Drink it! Why? Because.", ["Boil it.", "Drink it!", "Why?", "Because."]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("Dr. Smith met J. Doe. They talked.", ["Dr. Smith met J. Doe.", "They talked."]),
        ("See Fig. 3 and No. 5. Go on.", ["See Fig. 3 and No. 5.", "Go on."]),
        ("He said no. She left.", ["He said no.", "She left."]),
        ("About 3.5 km. www.x.org is there.", ["About 3.5 km. www.x.org is there."]),
        ("Wait... what? Yes… Good.", ["Wait... what?", "Yes…", "Good."]),
        ("水是热的。火山！你好？好", ["水是热的。", "火山！", "你好？", "好"]),
        ("「水は熱い。」火山。", ["「水は熱い。」", "火山。"]),
        ("पानी गरम है। यह अच्छा है॥", ["पानी गरम है।", "यह अच्छा है॥"]),
        ("هل الماء ساخن؟ نعم. شكرا", ["هل الماء ساخن؟", "نعم.", "شكرا"]),
        ("ውሃው ሞቃት ነው። አዎ።", ["ውሃው ሞቃት ነው።", "አዎ።"]),
        ("¿Qué es? Es p. ej. agua. Sí.", ["¿Qué es?", "Es p. ej. agua.", "Sí."]),
        ("Title\nThe text begins.", ["Title", "The text begins."]),
        ("One.\n\nTwo.", ["One.", "Two."]),
        ("short line\ngoes on here.", ["short line\ngoes on here."]),
        (
            "A line that an editor has wrapped, because it is long\nEnough, ends here. Next.",
            ["A line that an editor has wrapped, because it is long\nEnough, ends here.", "Next."],
        ),
        ("", []),
        ("  \n ", []),
        ("  Hello.  ", ["Hello."]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


@given(st.text(alphabet="aB.!?。।\n \t'\"“」)…,1", max_size=60))
def test_nothing_is_lost(text: str) -> None:
    found = split_sentences(text)
    assert "".join(sentence.gap + sentence.text for sentence in found) == text
    assert all(sentence.text == sentence.text.strip() for sentence in found)
    assert all(not sentence.gap.strip() for sentence in found)


@pytest.mark.parametrize(
    ("original", "translated", "expected"),
    [
        ("one line", "eine Zeile", "eine Zeile"),
        ("boil the\nwater now", "kocht das Wasser jetzt", "kocht das\nWasser jetzt"),
        ("a b\n  c d\n  e f", "AA BB CC DD EE FF", "AA BB\n  CC DD\n  EE FF"),
        ("boil the\nwater", "煮水", "煮\n水"),
        ("boil the\nwater", "", "\n"),
    ],
)
def test_a_sentence_is_wrapped_as_it_was(original: str, translated: str, expected: str) -> None:
    assert wrap_like(original, translated) == expected
    assert "\n" not in unwrap(original)


@given(st.text(alphabet="ab \n", max_size=40), st.text(alphabet="xy ", max_size=40))
def test_as_many_lines_as_before(original: str, translated: str) -> None:
    original = original.strip()
    wrapped = wrap_like(original, translated)
    assert wrapped.count("\n") == original.count("\n")
    assert wrapped.replace("\n", "").replace(" ", "") == translated.replace(" ", "")
