"""What is read from the words of a query: phrases, misspelt words, and how rare they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from kbjobs.retrieval.query_words import SourceWords, correct, count_words, fold, match_phrases
from kbjobs.store.word_frequencies import WordFrequencies

COUNT = 2_000


@pytest.fixture
def source() -> Iterator[SourceWords]:
    """2,000 passages: all have "water", every fourth "stove", one "hypothermia" and "e1047"."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE passages (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(title, text, content='')")
        for number in range(COUNT):
            words = ["water", *["stove"] * (number % 4 == 0), *["hypothermia", "e1047"] * (number == 7)]
            connection.execute("INSERT INTO passages DEFAULT VALUES")
            connection.execute("INSERT INTO words (title, text) VALUES ('', ?)", (" ".join(words),))
        yield SourceWords(WordFrequencies(connection), ("en",))


def test_misspelt_words_are_replaced_where_they_stand(source: SourceWords) -> None:
    assert correct("Hypotermia: water, hypotermia!", [source]) == (
        "Hypotermia: water, hypotermia!".replace("hypotermia", "hypothermia").replace("Hypotermia", "hypothermia"),
        {"Hypotermia": "hypothermia", "hypotermia": "hypothermia"},
    )
    assert correct("water e1048", [source]) == ("water e1048", {})


def test_a_word_that_any_source_has_is_right(source: SourceWords) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE passages (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(title, text, content='')")
        connection.execute("INSERT INTO words (title, text) VALUES ('', 'hypotermia')")
        other = SourceWords(WordFrequencies(connection), ())
        assert correct("hypotermia", [source, other]) == ("hypotermia", {})


def test_a_question_in_another_language_is_no_list_of_mistakes(source: SourceWords) -> None:
    question = "wie lange wird hypothermie behandelt"
    assert correct(question, [source]) == (question, {})


def test_phrases_are_matched_in_all_forms_of_the_source() -> None:
    assert match_phrases('how to "stored Water" in "cans"', ("en",)) == (
        '("stored water" OR "store water") AND ("cans" OR "can")'
    )
    assert match_phrases("no phrase", ("en",)) is None
    assert match_phrases('an empty "" and "…", a 5" pipe', ()) is None
    assert match_phrases('"a phrase" ' + "of a text that was copied " * 5, ()) is None


def test_statistics(source: SourceWords) -> None:
    def of(words: str) -> tuple[int, int, float, bool]:
        found = count_words(fold(words, source.languages), source.frequencies)
        return found.count, found.known, round(found.rarity, 2), found.has_code

    assert of("water") == (1, 1, 0.0, False)  # all passages have it: it tells nothing
    assert of("stove") == (1, 1, 0.18, False)
    assert of("hypothermia") == (1, 1, 1.0, False)
    assert of("e1047 water nothing") == (3, 2, 1.0, True)
    assert of("nothing") == (1, 0, 0.0, False)
