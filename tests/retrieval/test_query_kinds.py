"""No kind of query is lost by searching both ways: each finds its page as well as the better way alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.retrieval.hits import Hit, Mode, Query
from kbjobs.retrieval.searcher import Searcher
from kbjobs.services.sources import register
from tests.conftest import ROOT
from tests.phases.test_index_offline import index

pytestmark = pytest.mark.usefixtures("minilm")
LONG = (
    "We are a family of five in a small house, and since yesterday the tap brings brown water, because the river has"
    " flooded the waterworks. The shops are closed, we have a gas stove, two large pots with lids, and some fuel left."
    " My question is how long we have to keep the water at a rolling boil before the children can drink it without"
    " getting ill from germs"
)


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def searcher(home: Home, tmp_path: Path, notices: list[str]) -> Iterator[Searcher]:
    pages = tmp_path / "docs"
    pages.mkdir()
    for path in (ROOT / "examples" / "sources" / "preparedness").rglob("*.*"):
        (pages / path.name).write_bytes(path.read_bytes())
    for number in range(1040, 1060):
        (pages / f"pump{number}.txt").write_text(
            f"Pump message E{number}\n\nThe pump shows E{number}. Switch it off, wait, and switch it on again."
        )
    register(home, "docs", [pages])
    index(home)
    with Searcher(home, Settings(home), notices.append) as opened:
        yield opened


def rank_of(hits: list[Hit], page: str) -> int:
    return next((hit.rank for hit in hits if page in hit.url), 99)


def test_each_kind_finds_its_page(searcher: Searcher, notices: list[str]) -> None:
    kinds = {
        "E1047": "pump1047",
        "what does the pump mean by E1053": "pump1053",
        "hypothermia": "hypothermia",
        '"rolling boil"': "boiling-water",
        LONG: "boiling-water",
        "how do I keep a cellar for potatoes": "root-cellar",
        "Wie lange muss Wasser kochen": "boiling-water",
    }
    for words, page in kinds.items():
        ranks = {
            mode: rank_of(searcher.search(Query(words, mode=mode)), page) for mode in ("vectors", "words", "hybrid")
        }
        assert ranks["hybrid"] <= min(ranks["vectors"], ranks["words"]), (words, ranks)
    assert notices == []


@pytest.mark.parametrize("mode", ["hybrid", "words"])
def test_a_misspelt_word_is_replaced_and_said(searcher: Searcher, notices: list[str], mode: Mode) -> None:
    [best, *_] = searcher.search(Query("hypotermia", mode=mode))
    assert "hypothermia" in best.url and "Hypothermia" in best.matched
    assert notices == ["no passage has the word hypotermia: searched for hypothermia instead."]


def test_quoted_words_stand_in_each_hit_in_that_order(searcher: Searcher, notices: list[str]) -> None:
    for mode in ("vectors", "words", "hybrid"):
        hits = searcher.search(Query('"rolling boil"', mode=mode, passages=True))
        assert hits and all("rolling boil" in hit.text for hit in hits), mode
    several = searcher.search(Query("water"))
    assert searcher.search(Query('"boil rolling" water')) != [] != several
    assert notices == ["no passage has the quoted words in that order: searched without the quotes."]
