"""A link shows a view again: from where, in which colours, what was asked for and which document was chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbjobs.config.home import Home
from tests.maps.browser import read
from tests.maps.maps import draw_several, draw_source, fill_map, mixed_documents, page_of

pytestmark = pytest.mark.slow
HOSTILE_FRAGMENTS = (
    "#at=NaN,1,1,1,1,1&by=constructor&find=<img src=x onerror=alert(1)>&doc=../../x",
    "#at=1e999,9,-5,1e9,1e9,1e9&by=__proto__&doc=ffffffff",
    "#at=,,,,,&find=" + "%00%E2%80%AE" * 500,
    "#%",
)


@pytest.fixture
def page_file(home: Home) -> Path:
    """The page of a map of two sources."""
    for name in ("a", "b"):
        fill_map(home, name, mixed_documents(name, 80))
    draw_several(home, "a", "b")
    return page_of(home, "map")


def test_a_link_shows_the_view_again(page_file: Path) -> None:
    with read(page_file, reduced_motion="reduce") as reader:
        page = reader.page
        assert page.evaluate("location.hash") == ""
        page.select_option("#coloured", "sources")
        page.fill("#search", "radio 13")
        page.keyboard.press("Enter")
        page.focus("#map")
        for key in ("ArrowLeft", "ArrowUp", "-"):
            page.keyboard.press(key)
        reader.wait("location.hash.includes('doc=')")
        reader.wait("document.getElementById('here').getAttribute('href') === location.hash")
        link, ring = page.evaluate("location.hash"), page.locator("#ring").bounding_box()
        assert link.startswith("#at=") and "by=sources" in link and "find=radio%2013" in link
        title = page.inner_text("#chosen-title")
    with read(page_file, fragment=link, is_touched=False) as reader:  # no first turn: the view is that of the link
        page = reader.page
        assert page.input_value("#search") == "radio 13" and page.input_value("#coloured") == "sources"
        assert page.inner_text("#chosen-title") == title and page.locator("#results li").count() > 0
        assert page.locator("#ring").bounding_box() == pytest.approx(ring, abs=1)
        # Another link in the same window is followed, too.
        page.evaluate("location.hash = '#by=languages'")
        reader.wait("document.getElementById('coloured').value === 'languages'")
        assert page.is_hidden("#chosen") and page.input_value("#search") == ""


@pytest.mark.parametrize("fragment", HOSTILE_FRAGMENTS)
def test_whatever_a_link_says_the_map_is_shown(page_file: Path, fragment: str) -> None:
    with read(page_file, fragment=fragment, reduced_motion="reduce") as reader:
        assert reader.measure(reader.shot())[1] > 1
        assert reader.page.locator("img").count() == 0 and reader.page.is_hidden("#chosen")
        assert reader.page.input_value("#coloured") == "clusters"
        reader.page.keyboard.press("0")
        assert reader.measure(reader.shot())[0] > 0.002


def test_a_link_outlives_a_map_that_is_drawn_anew(home: Home) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 40))
    draw_source(home, "wiki")
    with read(page_of(home, "wiki"), reduced_motion="reduce") as reader:
        reader.page.fill("#search", "antenna 9")
        reader.page.keyboard.press("Enter")
        reader.wait("location.hash.includes('doc=')")
        link, title = reader.page.evaluate("location.hash"), reader.page.inner_text("#chosen-title")
    fill_map(home, "wiki", mixed_documents("wiki", 60))
    draw_source(home, "wiki")
    with read(page_of(home, "wiki"), fragment=link, reduced_motion="reduce") as reader:
        assert reader.page.inner_text("#chosen-title") == title


def test_the_title_names_the_sources(page_file: Path) -> None:
    with read(page_file, reduced_motion="reduce") as reader:
        assert reader.page.title() == "Map of a, b" and reader.page.inner_text("h1") == "a, b"
