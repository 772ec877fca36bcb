"""Words and marks apart and together, as Moses does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.translation.moses_words import join_words, split_words

# What sacremoses 0.1, a port of Moses' scripts, gives for the same.
EXAMPLES = [
    (
        "en",
        "Don't “panic”: it's 3,000.5 km (approx.) - e.g. 5|6 [x].",
        "Don &apos;t &quot; panic &quot; : it &apos;s 3,000.5 km ( approx. ) - e.g. 5 &#124; 6 &#91; x &#93; .",
    ),
    ("fr", "L'homme, qu'il a vu, n'est pas là.", "L&apos; homme , qu&apos; il a vu , n&apos; est pas là ."),
    ("es", "¿Qué es? Es agua.", "¿ Qué es ? Es agua ."),
    ("ja", "水は熱い!", "水は熱い !"),
    ("hi", "पानी गरम है।", "पानी गरम है ।"),
    ("en", "Wait... & see", "Wait ... &amp; see"),
]


@pytest.mark.parametrize(("language", "sentence", "words"), EXAMPLES)
def test_words(language: str, sentence: str, words: str) -> None:
    assert " ".join(split_words(sentence, language)) == words


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "Don't panic: it's 3,000.5 km (about 12%)."),
        ("en", 'He said "no" and left; why?'),
        ("fr", "L'homme n'est pas là ; pourquoi ?"),
        ("de", 'Das kostet 3,50 und "nichts" mehr.'),
        ("es", "¿Qué es? ¡Es agua!"),
        ("zh", "水是热的。好"),
        ("en", "a < b & c > d | e"),
    ],
)
def test_together_again(language: str, sentence: str) -> None:
    assert join_words(split_words(sentence, language), language) == sentence


@given(st.text(max_size=40), st.sampled_from(["en", "fr", "de", "zh"]))
def test_no_letter_is_lost(sentence: str, language: str) -> None:
    joined = join_words(split_words(sentence, language), language)
    letters = [letter for letter in sentence if letter.isalnum()]
    assert [letter for letter in joined if letter.isalnum()] == letters
