"""Words as they are looked up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbjobs.content.search_words import STEMMERS, find_matches, fold_query, fold_words


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("Boiling water, boiled safely!", "en", ["boil", "water", "boil", "safe"]),
        ("Boiling", None, ["boiling"]),
        ("Größe naïve CAFÉ", None, ["grosse", "naive", "cafe"]),
        ("don’t can't", None, ["dont", "cant"]),
        ("E-4711 v2.5 x_y", None, ["e", "4711", "v2", "5", "x", "y"]),
        ("水を沸かす water", None, ["水を", "を沸", "沸か", "かす", "water"]),
        ("水", None, ["水"]),
        ("हिन्दी भाषा", None, ["हिन्दी", "भाषा"]),
        ("вода и воды", "ru-RU", ["вод", "и", "вод"]),
        ("שָׁלוֹם", None, ["שלום"]),
        ("", "en", []),
        ("*\"'-()", "en", []),
    ],
)
def test_folding(text: str, language: str | None, words: list[str]) -> None:
    assert fold_words(text, language) == words


def test_every_language_has_its_stemmer() -> None:
    for language in STEMMERS:
        assert fold_words("water", language)


def test_a_query_has_the_forms_of_each_language() -> None:
    assert fold_query("boiling boiling", ["en", "de", "xx", None]) == [("boiling", "boil")]
    assert fold_query("沸かす", ["ja"]) == [("沸か",), ("かす",)]


def test_matches_are_told_as_they_are_written() -> None:
    forms = fold_query("boiled Water", ["en"])
    assert find_matches("Boil the WATER; boiling it. Boil", "en", forms) == ["Boil", "WATER", "boiling"]


@given(st.text(max_size=200), st.sampled_from([None, *STEMMERS]))
def test_any_text_gives_words_without_syntax(text: str, language: str | None) -> None:
    for word in fold_words(text, language):
        assert word
        assert not set(word) & set('"*^:()- \t\n')
