"""The words of a published file: which of them are looked up, and that the answer is that of all of them."""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kbjobs.content.search_words import fold_text
from kbjobs.store.passages import Filter, Passage, PassageFile, PassageWriter

WORDS = ["the", "of", "water", "filter", "stove", "map", "rope", "tent"]
COUNT = 200


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 passages: nearly all have "the" and "of", the others come in fewer and fewer."""
    generator = random.Random(3)
    passages = []
    for number in range(COUNT):
        chosen = [word for place, word in enumerate(WORDS) if generator.random() < (0.95 if place < 2 else 0.5 / place)]
        text = " ".join(generator.choices([*chosen, "nothing"], k=30))
        name = f"{number:03}"
        passages.append(Passage(name, name, number, name, f"{name}.html", None, f"Page {name}", "", text))
    path = tmp_path_factory.mktemp("published") / "passages.db"
    with PassageWriter(path, fold_text) as writer:
        writer.make_equal({one.id: None for one in passages}, lambda _: iter([passages]), "state")
    return path


def rank_with_all(path: Path, words: list[str]) -> dict[int, float]:
    """The numbers of all passages with any of the words, with their BM25."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT rowid, -bm25(words, 2.0, 1.0) FROM words WHERE words MATCH ?", [" OR ".join(words)]
        )
        return dict(rows.fetchall())


@pytest.mark.parametrize("count", [1, 5, 20, 150, COUNT])
@pytest.mark.parametrize(
    "words", [["the", "of", "rope"], ["the", "water", "map"], ["tent"], ["the"], ["the", "of"], ["the", "absent"]]
)
def test_the_order_is_that_of_all_words(published: Path, words: list[str], count: int) -> None:
    scores = rank_with_all(published, words)
    with PassageFile(published) as file:
        found = file.by_words(words, count, Filter())
        assert found == file.by_words(words, count, Filter())
    assert len(found) >= min(count, len(scores))
    ordered = sorted(scores.values(), reverse=True)
    for place, (number, score) in enumerate(found):
        assert score == pytest.approx(scores[number], abs=1e-5)
        if place < count:
            assert score == pytest.approx(ordered[place], abs=1e-5)


@pytest.mark.parametrize(("count", "looked_up"), [(5, {'"water"'}), (100, {'"water"', '"the" OR "water" OR "absent"'})])
def test_what_most_passages_have_is_looked_up_only_where_it_is_needed(
    published: Path, count: int, looked_up: set[str]
) -> None:
    with PassageFile(published) as file:
        asked: list[str] = []
        file._connection.set_trace_callback(asked.append)
        file.by_words(["the", "water", "absent"], count, Filter())
    assert {found[1] for sql in asked if (found := re.search(r"WHERE words MATCH '(.*)' ORDER", sql))} == looked_up


def test_nothing_is_written_beside_it(published: Path) -> None:
    with PassageFile(published) as file:
        file.by_words(["water"], 5, Filter())
        assert [path.name for path in published.parent.iterdir()] == ["passages.db"]
