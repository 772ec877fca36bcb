"""How a map tells what it holds: it fits the window, names its topics, shows its depth, dims what does not match."""

from __future__ import annotations

import base64
from itertools import combinations
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from tests.conftest import rest_full
from tests.maps.browser import WITHOUT_WEBGL, Reader, read
from tests.maps.maps import HOSTILE, draw_source, fill_map, mixed_documents, page_of, titled

pytestmark = pytest.mark.slow
NAMES = "[...document.querySelectorAll('#names span:not([hidden])')]"
TEXTS = f"{NAMES}.map((one) => one.textContent)"
BOXES = f"{NAMES}.map((one) => one.getBoundingClientRect()).map((one) => [one.left, one.top, one.right, one.bottom])"
IS_TURNING = "document.getElementById('map').matches('.turning')"

# Of the pixels that differ from the ground by more than a little: how many, in how many colours, and their bounds.
LOOK = """
async ([png, least]) => {
  const picture = new Image();
  picture.src = "data:image/png;base64," + png;
  await picture.decode();
  const pen = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  pen.drawImage(picture, 0, 0);
  const { width, height, data } = pen.getImageData(0, 0, picture.width, picture.height);
  const colours = new Set();
  let [found, left, top, right, bottom] = [0, width, height, 0, 0];
  for (let at = 0; at < data.length; at += 4) {
    if (Math.max(...[0, 1, 2].map((one) => Math.abs(data[at + one] - data[one]))) < least) continue;
    const [x, y] = [(at / 4) % width, Math.floor(at / 4 / width)];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
    colours.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
    found++;
  }
  return [found, colours.size, left, top, right, bottom, width, height];
}
"""


@pytest.fixture
def wiki(home: Home) -> Path:
    """The page of a map of 400 documents of four topics."""
    fill_map(home, "wiki", mixed_documents("wiki", 400))
    draw_source(home, "wiki")
    return page_of(home, "wiki")


def look(reader: Reader, least: int = 8) -> list[int]:
    """What is seen of the points alone: how many pixels, in how many colours, bounds and size of the view."""
    reader.page.evaluate("for (const id of ['names', 'tools']) document.getElementById(id).style.display = 'none'")
    picture = base64.b64encode(reader.shot()).decode()
    helper = reader.context.new_page()
    found: list[int] = helper.evaluate(LOOK, [picture, least])
    helper.close()
    reader.page.evaluate("for (const id of ['names', 'tools']) document.getElementById(id).style.display = ''")
    return found


@pytest.mark.parametrize(("width", "height"), rest_full([(1280, 800), (390, 844), (844, 390)], (390, 844)))
@pytest.mark.parametrize("flags", rest_full([[], WITHOUT_WEBGL], []))
def test_all_points_fit_the_window(wiki: Path, width: int, height: int, flags: list[str]) -> None:
    with read(wiki, flags=flags, reduced_motion="reduce") as reader:
        reader.page.set_viewport_size({"width": width, "height": height})
        reader.wait("document.getElementById('map').width === document.getElementById('map').clientWidth")
        _, _, left, top, right, bottom, wide, high = look(reader)
        assert min(left, top, wide - right, high - bottom) >= 10
        assert (right - left) / wide > 0.6 or (bottom - top) / high > 0.6
        root = "document.documentElement"
        assert reader.page.evaluate(f"{root}.scrollHeight <= innerHeight && {root}.scrollWidth <= innerWidth")
        assert high >= 0.4 * height


def test_the_names_of_topics_stand_on_the_map(wiki: Path) -> None:
    with read(wiki, reduced_motion="reduce") as reader:
        found = {" ".join(sorted(name.split(", "))) for name in reader.page.evaluate(TEXTS)}
        assert found == {"purification water", "antenna radio", "bread oven", "dressing wound"}
        boxes = reader.page.evaluate(BOXES)
        for one, other in combinations(boxes, 2):
            assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
        # The list beside the map says the same in words, so a screen reader is not told twice.
        assert reader.page.get_attribute("#names", "aria-hidden") == "true"
        reader.page.click("#legend button >> nth=0")
        reader.shot()
        assert len(reader.page.evaluate(TEXTS)) == 3


def test_more_names_stand_there_as_one_comes_nearer(home: Home) -> None:
    kinds = ("filter", "kettle", "boiling", "storage", "pump")
    documents = [
        titled("wiki", number, f"Topic {number % 4} {kinds[number // 4 % 5]} {number}") for number in range(400)
    ]
    fill_map(home, "wiki", documents)
    draw_source(home, "wiki")
    with read(page_of(home, "wiki"), width=1280, reduced_motion="reduce") as reader:
        far = len(reader.page.evaluate(TEXTS))
        box = reader.page.locator("#names span:not([hidden])").first.bounding_box()
        reader.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        for _ in range(2):
            reader.page.mouse.wheel(0, -200)
            reader.shot()
        assert len(reader.page.evaluate(TEXTS)) > far
        assert reader.page.locator("#names .part:not([hidden])").count() > 0
        for _ in range(2):  # at last documents have their titles
            reader.page.mouse.wheel(0, -200)
            reader.shot()
        assert set(reader.page.locator("#names .title:not([hidden])").all_text_contents()) & {
            document.title for document in documents
        }


def test_hostile_names_are_text(home: Home) -> None:
    fill_map(home, "wiki", [titled("wiki", number, HOSTILE[number % 4]) for number in range(40)])
    draw_source(home, "wiki")
    with read(page_of(home, "wiki"), reduced_motion="reduce") as reader:
        assert reader.page.evaluate("document.querySelectorAll('#names *').length") == reader.page.evaluate(
            "document.querySelectorAll('#names > span').length"
        )
        assert reader.page.title() == "Map of wiki"


@pytest.mark.parametrize("flags", rest_full([[], WITHOUT_WEBGL], []))
def test_far_points_fade_into_the_ground(home: Home, flags: list[str]) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 300))
    draw_source(home, "wiki")
    with read(page_of(home, "wiki"), flags=flags, reduced_motion="reduce") as reader:
        reader.page.select_option("#coloured", "sources")  # one colour, and its rim
        assert look(reader)[1] > 5


def test_a_slow_first_turn_ends_at_the_first_touch(wiki: Path) -> None:
    with read(wiki, is_touched=False) as reader:
        assert reader.page.evaluate(IS_TURNING)
        before = reader.shot()
        assert reader.shot() != before and reader.page.evaluate(IS_TURNING)
        reader.page.mouse.move(300, 300)
        reader.page.mouse.wheel(0, 1)
        assert not reader.page.evaluate(IS_TURNING)
        still = reader.shot()
        assert reader.shot() == still


@pytest.mark.full
def test_the_first_turn_ends_by_itself_where_all_is_seen(wiki: Path) -> None:
    with read(wiki, is_touched=False) as reader:
        reader.wait(f"!{IS_TURNING}")
        still = reader.shot()
        assert reader.shot() == still
        _, _, left, top, right, bottom, wide, high = look(reader)
        assert min(left, top, wide - right, high - bottom) >= 10


def test_there_is_no_first_turn_under_reduced_motion(wiki: Path) -> None:
    with read(wiki, is_touched=False, reduced_motion="reduce") as reader:
        assert not reader.page.evaluate(IS_TURNING)
        still = reader.shot()
        assert reader.shot() == still


@pytest.mark.parametrize("flags", rest_full([[], WITHOUT_WEBGL], []))
def test_what_does_not_match_dims_while_one_types(wiki: Path, flags: list[str]) -> None:
    with read(wiki, flags=flags, reduced_motion="reduce") as reader:
        strong = look(reader, 60)[0]
        press_slash = reader.page.keyboard.press
        press_slash("/")
        reader.page.keyboard.type("oven")
        matching = look(reader, 60)[0]
        assert 0 < matching < 0.5 * strong
        assert look(reader)[0] > matching  # the others are still there
        assert reader.page.evaluate(TEXTS) == [name for name in reader.page.evaluate(TEXTS) if "oven" in name]
        reader.page.keyboard.type("no such words")
        assert look(reader, 60)[0] == 0
        press_slash("Escape")
        assert look(reader, 60)[0] == strong


@pytest.mark.parametrize(("width", "height"), rest_full([(1280, 800), (390, 844)], (390, 844)))
def test_the_chosen_point_has_a_ring_and_its_card_beside(wiki: Path, width: int, height: int) -> None:
    with read(wiki, reduced_motion="reduce") as reader:
        page = reader.page
        page.set_viewport_size({"width": width, "height": height})
        for asked in ("antenna 1", "oven 2", "water purification 396"):
            page.fill("#search", asked)
            page.keyboard.press("Enter")
            reader.wait("!document.getElementById('chosen').hidden")
            for key in ("", "ArrowLeft", "-", "-"):
                page.focus("#map")
                if key:
                    page.keyboard.press(key)
                reader.shot()
                view, ring, card = (page.locator(one).bounding_box() for one in ("#view", "#ring", "#chosen"))
                apart = (
                    card["x"] >= ring["x"] + ring["width"]
                    or card["x"] + card["width"] <= ring["x"]
                    or card["y"] >= ring["y"] + ring["height"]
                    or card["y"] + card["height"] <= ring["y"]
                )
                assert apart, (asked, key, ring, card)
                assert card["x"] >= view["x"] and card["x"] + card["width"] <= view["x"] + view["width"]
                assert card["y"] >= view["y"] and card["y"] + card["height"] <= view["y"] + view["height"]
        page.click("#leave")
        assert page.is_hidden("#ring") and page.is_hidden("#chosen")
