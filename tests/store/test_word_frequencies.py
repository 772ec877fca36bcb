"""How often words occur in an index, and which of them resembles a misspelt one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from kbjobs.store.word_frequencies import WordFrequencies

TEXTS = ("gutenberg printed bibl", "hypothermia is cold", "gutenberg lived", "e1047 clog", "gutter and gate", "水を")


@pytest.fixture
def frequencies() -> Iterator[WordFrequencies]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE passages (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(title, text, content='')")
        for text in TEXTS:
            connection.execute("INSERT INTO passages DEFAULT VALUES")
            connection.execute("INSERT INTO words (title, text) VALUES ('', ?)", (text,))
        yield WordFrequencies(connection)


def test_words_are_counted_by_passages(frequencies: WordFrequencies) -> None:
    assert frequencies.count == len(TEXTS)
    assert [frequencies.frequency(word) for word in ("gutenberg", "e1047", "nothing")] == [2, 1, 0]


@pytest.mark.parametrize(
    ("word", "best"),
    [
        ("gutenburg", "gutenberg"),  # another letter
        ("gutenbreg", "gutenberg"),  # two are swapped
        ("hypotermia", "hypothermia"),  # one is missing
        ("hypothermmia", "hypothermia"),  # one too many
        ("hypnosis", None),  # begins alike, and is another word
        ("e1048", None),  # a code is another code
        ("gat", None),  # too short to tell
        ("wasser", None),
        ("水を沸かす", None),
        ('"; DROP TABLE words; --', None),
        ("\U0010ffff" * 9, None),
    ],
)
def test_a_misspelt_word_resembles_one(frequencies: WordFrequencies, word: str, best: str | None) -> None:
    found = frequencies.resembling([word])
    assert (found[0] if found else None) == best
