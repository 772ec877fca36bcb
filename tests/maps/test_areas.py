"""An area of a map lists what is in it: by a lasso, by a box, by a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from tests.maps.browser import Reader, read
from tests.maps.maps import draw_source, fill_map, mixed_documents, page_of

pytestmark = pytest.mark.slow
FOUND = "document.getElementById('found').textContent"
LISTED = "document.querySelectorAll('#results li').length"


@pytest.fixture
def wiki(home: Home) -> Path:
    """The page of a map of 300 documents of four topics."""
    fill_map(home, "wiki", mixed_documents("wiki", 300))
    draw_source(home, "wiki")
    return page_of(home, "wiki")


def drag(reader: Reader, *places: tuple[float, float]) -> None:
    """Draw from place to place, each told as shares of the view."""
    box = reader.page.locator("#map").bounding_box()
    mouse = reader.page.mouse
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    mouse.move(*at[0])
    mouse.down()
    for one in at[1:]:
        mouse.move(*one, steps=5)
    mouse.up()


def found(reader: Reader) -> int:
    """How many documents the area holds."""
    text: str = reader.page.evaluate(FOUND)
    assert text.endswith("in the area"), text
    return int(text.split()[0])


def test_a_lasso_lists_what_is_in_it(wiki: Path) -> None:
    with read(wiki, reduced_motion="reduce") as reader:
        page = reader.page
        page.click("#lasso")
        assert page.get_attribute("#lasso", "aria-pressed") == "true" and page.is_visible("#lasso-help")
        before = reader.shot()
        drag(reader, (0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99))
        assert found(reader) == 300
        assert page.get_attribute("#lasso", "aria-pressed") == "false" and page.is_hidden("#lasso-help")
        assert page.evaluate(LISTED) == 50
        assert page.inner_text("#more") == "50 more of 250"
        page.click("#more")
        assert page.evaluate(LISTED) == 100
        assert page.evaluate("document.activeElement.closest('li') === document.querySelectorAll('#results li')[50]")
        page.click("#clear-area")
        assert page.evaluate(FOUND) == "" and page.evaluate(LISTED) == 0 and page.is_hidden("#more")
        # A lasso around the upper half and one around the lower half have all points between them.
        page.keyboard.press("Escape")
        halves = []
        for top, bottom in ((0.0, 0.5), (0.5, 1.0)):
            page.keyboard.press("a")
            drag(reader, (0.0, top), (0.999, top), (0.999, bottom), (0.0, bottom))
            halves.append(found(reader))
        assert all(halves) and sum(halves) == pytest.approx(300, abs=6)
        assert reader.shot() != before


def test_a_straight_line_is_a_box(wiki: Path) -> None:
    with read(wiki, reduced_motion="reduce") as reader:
        reader.page.keyboard.press("a")
        drag(reader, (0.01, 0.01), (0.99, 0.99))
        assert found(reader) == 300
        reader.page.fill("#search", "oven")  # a word looks within the area
        assert found(reader) == 75
        assert all("oven" in one for one in reader.page.locator("#results span").all_inner_texts())


def test_an_area_holds_only_what_is_shown(wiki: Path) -> None:
    with read(wiki, reduced_motion="reduce") as reader:
        reader.page.click("#legend button >> nth=0")
        reader.page.focus("#map")
        reader.page.keyboard.press("v")
        assert found(reader) == 225


def test_without_a_pointer_what_is_in_view_is_listed(wiki: Path) -> None:
    with read(wiki, reduced_motion="reduce") as reader:
        page = reader.page
        page.focus("#map")
        page.keyboard.press("v")
        assert found(reader) == 300
        for _ in range(5):
            page.keyboard.press("+")
        page.keyboard.press("v")
        assert 0 < found(reader) < 300
        page.keyboard.press("Escape")
        assert page.evaluate(FOUND) == ""


def test_a_lasso_is_left_without_an_area(wiki: Path) -> None:
    with read(wiki, reduced_motion="reduce") as reader:
        page = reader.page
        page.keyboard.press("a")
        page.keyboard.press("Escape")
        assert page.get_attribute("#lasso", "aria-pressed") == "false"
        before = reader.shot()
        drag(reader, (0.3, 0.3), (0.6, 0.5))  # turns again
        assert reader.shot() != before and page.evaluate(FOUND) == ""
