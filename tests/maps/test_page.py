"""The page of a map in a real browser: drawn, turned, searched and read, by keyboard, narrow, dark, without WebGL."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.maps.map_page import render
from kbjobs.maps.point_encoding import Points, pack_numbers, pack_texts
from kbjobs.store.ledger import Ledger
from tests.conftest import ROOT, real_input, rest_full, wait_until
from tests.maps.browser import WITHOUT_WEBGL, Reader, Scheme, read
from tests.maps.maps import (
    HOSTILE,
    HOSTILE_URLS,
    draw_several,
    draw_source,
    fill_map,
    mixed_documents,
    page_of,
    titled,
)
from tests.servers.site_server import Page, SiteServer

pytestmark = pytest.mark.slow
GRAVE = ("serious", "critical")
CLIP = "document.documentElement.dataset.drawn"
ACTIVE = "document.activeElement.id || document.activeElement.tagName"


@pytest.fixture
def wiki(home: Home) -> Path:
    """The page of a map of 300 documents of four topics."""
    fill_map(home, "wiki", mixed_documents("wiki", 300))
    draw_source(home, "wiki")
    return page_of(home, "wiki")


def press(reader: Reader, *keys: str) -> None:
    for key in keys:
        reader.page.keyboard.press(key)


def focus_map(reader: Reader) -> None:
    reader.page.evaluate("document.getElementById('map').focus()")


@pytest.mark.parametrize(("scheme", "is_light"), rest_full([("light", True), ("dark", False)], ("dark", False)))
@pytest.mark.parametrize(("flags", "drawn"), [([], "webgl"), (WITHOUT_WEBGL, "canvas")])
def test_it_is_drawn_and_turned(wiki: Path, scheme: Scheme, is_light: bool, flags: list[str], drawn: str) -> None:
    with read(wiki, scheme, flags) as reader:
        assert reader.page.evaluate(CLIP) == drawn
        first = reader.shot()
        share, colours, ground = reader.measure(first)
        assert 0.002 < share < 0.5 and colours >= 5 and (ground > 200) is is_light
        focus_map(reader)
        views = [first]
        for key in ("ArrowRight", "ArrowUp", "+", "-"):
            press(reader, key, key, key)
            views.append(reader.shot())
            assert views[-1] != views[-2], key
        press(reader, "0")
        # The flight back ends where the map began, but for the frame around what has the focus.
        reader.wait("!document.getElementById('map').matches('.flying')")
        assert reader.measure(reader.shot())[0] > 0.002


@pytest.mark.parametrize("scheme", rest_full(["light", "dark"], "light"))
@pytest.mark.parametrize("flags", rest_full([[], WITHOUT_WEBGL], WITHOUT_WEBGL))
def test_lines_for_links_are_seen(wiki: Path, scheme: Scheme, flags: list[str]) -> None:
    with read(wiki, scheme, flags) as reader:
        without = reader.measure(reader.shot())[0]
        press(reader, "l")
        assert reader.page.evaluate("document.getElementById('links').checked")
        assert reader.measure(reader.shot())[0] > 2 * without
        for number in range(3):  # a link is hidden with any of its documents
            reader.page.click(f"#legend button >> nth={number}")
        assert reader.measure(reader.shot())[0] < without


def test_the_keys_say_what_they_do(wiki: Path) -> None:
    with read(wiki) as reader:
        press(reader, "?")
        assert reader.page.evaluate("document.getElementById('help').open")
        press(reader, "Escape")
        assert not reader.page.evaluate("document.getElementById('help').open")
        before = reader.shot()
        press(reader, "l")
        assert reader.page.evaluate("document.getElementById('links').checked")
        assert reader.shot() != before
        press(reader, "/")
        assert reader.page.evaluate(ACTIVE) == "search"
        press(reader, "l")  # a letter, not a command
        assert reader.page.evaluate("document.getElementById('links').checked")
        assert reader.page.input_value("#search") == "l"


@pytest.mark.parametrize("flags", rest_full([[], WITHOUT_WEBGL], []))
def test_a_document_is_found_and_flown_to(wiki: Path, flags: list[str]) -> None:
    with read(wiki, flags=flags) as reader:
        page = reader.page
        before = reader.shot()
        press(reader, "/")
        page.keyboard.type("antenna 153")
        assert page.inner_text("#found") == "1 document found"
        page.fill("#search", "radio 1")
        total = sum("1" in str(number) for number in range(1, 300, 4))
        assert page.inner_text("#found").startswith(f"{total} documents found")
        page.fill("#search", "ANTENNA 253")
        press(reader, "Tab")
        assert page.evaluate("document.activeElement.parentElement.parentElement.id") == "results"
        press(reader, "Enter")
        reader.wait("!document.getElementById('chosen').hidden")
        assert page.inner_text("#chosen-title") == "Radio antenna 253"
        assert page.inner_text("#chosen-snippet") == "All about Radio antenna 253"
        assert page.get_attribute("#chosen-link", "href") == "https://example.org/wiki/page253.html"
        reader.wait("!document.getElementById('ring').hidden")
        assert reader.shot() != before
        page.fill("#search", "no such words")
        assert page.inner_text("#found") == "0 documents found"
        press(reader, "Escape")
        assert page.input_value("#search") == "" and page.inner_text("#found") == ""
        press(reader, "Escape")
        assert page.is_hidden("#chosen") and page.evaluate(ACTIVE) == "map"


def test_a_point_tells_what_it_is_and_opens_its_document(home: Home) -> None:
    with SiteServer({"/oven": Page("the document"), "/favicon.ico": Page("")}) as site:
        documents = mixed_documents("wiki", 300)
        documents[42] = titled("wiki", 42, "Bread oven", f"{site.url}/oven")
        fill_map(home, "wiki", documents)
        draw_source(home, "wiki")
        look_at_oven(page_of(home, "wiki"), site)


def look_at_oven(path: Path, site: SiteServer) -> None:
    with read(path) as reader:
        page = reader.page
        page.fill("#search", "bread oven")
        press(reader, "Enter")
        # What is flown to comes to lie in the middle.
        reader.wait("!document.getElementById('map').matches('.flying')")
        assert page.inner_text("#chosen-title") == "Bread oven"
        box = page.locator("#map").bounding_box()
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        press(reader, "Escape", "Escape")
        assert page.is_hidden("#chosen")
        page.mouse.move(*middle)
        reader.wait("!document.getElementById('hover').hidden")
        assert page.inner_text("#hover strong") == "Bread oven"
        page.mouse.click(*middle)
        assert page.inner_text("#chosen-title") == "Bread oven" and len(reader.context.pages) == 1
        with reader.context.expect_page() as opened:
            page.mouse.click(*middle)
        opened.value.wait_for_url(f"{site.url}/oven")
        assert opened.value.evaluate("opener === null && document.referrer === ''")
        before = reader.shot()
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 90, middle[1] + 40, steps=3)
        page.mouse.up()
        assert reader.shot() != before
        assert len(reader.context.pages) == 2  # a drag opens nothing


def test_colours_and_groups(home: Home) -> None:
    for name in ("a", "b"):
        fill_map(home, name, mixed_documents(name, 80, ("en", "fr", "be", "")))
    draw_several(home, "a", "b")
    with read(page_of(home, "map")) as reader:
        page = reader.page
        legend = "[...document.querySelectorAll('#legend button')].map((one) => one.ariaLabel)"
        assert len(page.evaluate(legend)) == 4
        pictures = {reader.shot()}
        page.select_option("#coloured", "sources")
        assert page.evaluate(legend) == ["a 80 documents, shown", "b 80 documents, shown"]
        pictures.add(reader.shot())
        page.select_option("#coloured", "languages")
        labels = page.evaluate(legend)
        assert {label.split()[0] for label in labels} == {"en", "fr", "be", "unknown"}
        everything = reader.shot()
        pictures.add(everything)
        assert len(pictures) == 3
        page.click("#legend button >> nth=0")
        assert page.get_attribute("#legend button >> nth=0", "aria-pressed") == "false"
        assert reader.measure(reader.shot())[0] < reader.measure(everything)[0]
        page.fill("#search", "a")  # a hidden document that is chosen is shown again
        press(reader, "Enter")


@pytest.mark.parametrize("flags", rest_full([[], WITHOUT_WEBGL], []))
def test_it_fits_a_narrow_screen(wiki: Path, flags: list[str]) -> None:
    with read(wiki, flags=flags) as reader:
        reader.page.set_viewport_size({"width": 360, "height": 640})
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= 360
        assert reader.measure(reader.shot())[0] > 0.002
        reader.page.fill("#search", "antenna")
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= 360
        small = (
            "[...document.querySelectorAll('button')].filter((one) => one.offsetParent && one.offsetHeight < 24).length"
        )
        assert reader.page.evaluate(small) == 0


def test_nothing_moves_by_itself_where_that_is_wished(wiki: Path) -> None:
    with read(wiki, reduced_motion="reduce") as reader:
        reader.page.fill("#search", "oven 42")
        press(reader, "Enter")
        once = reader.shot()
        assert reader.shot() == once
        assert not reader.page.evaluate("document.getElementById('map').matches('.flying')")


def test_those_who_do_not_see_it_hear_what_is_there(wiki: Path) -> None:
    with read(wiki) as reader:
        page = reader.page
        assert page.get_attribute("#map", "aria-label") == "Map of wiki: 300 documents in 4 topics"
        assert page.get_by_role("searchbox", name="Search titles and snippets").count() == 1
        assert page.get_by_role("combobox", name="Colour by").count() == 1
        assert page.get_by_role("status").get_attribute("aria-live") == "polite"
        assert page.get_by_role("list", name="Colour by").get_by_role("button").count() == 4
        unnamed = "(one) => !(one.ariaLabel || one.textContent.trim())"
        assert page.evaluate(f"[...document.querySelectorAll('button')].filter({unnamed}).length") == 0
        page.fill("#search", "oven")
        assert page.get_by_role("list", name="Documents found").get_by_role("button").count() == 50


def test_hostile_texts_are_shown_and_do_nothing(home: Home) -> None:
    documents = [titled("wiki", number, title) for number, title in enumerate(HOSTILE)]
    documents += [titled("wiki", 10 + number, url=url) for number, url in enumerate(HOSTILE_URLS)]
    folder = fill_map(home, "wiki", documents)
    manifest = json.loads(folder.manifest.read_text())
    folder.manifest.write_text(json.dumps({**manifest, "name": "</script><img src=x onerror=alert(1)>"}))
    with Ledger(folder.ledger) as ledger:
        ledger.connection.execute("UPDATE metadata SET language = '<b>x</b>'")
    draw_source(home, "wiki")
    with read(page_of(home, "wiki")) as reader:
        page = reader.page
        assert page.title() == "Map of </script><img src=x onerror=alert(1)>"
        assert page.locator("img").count() == 0 and page.locator("#legend b").count() == 0
        for asked, shown in (("owned", 2), ("right to left", 1), ("numbers", 1), ("long", 1)):
            page.fill("#search", asked)
            assert page.locator("#results li").count() == shown, asked
        for number in range(len(HOSTILE_URLS)):
            page.fill("#search", f" {10 + number}")
            press(reader, "Enter")
            reader.wait("!document.getElementById('chosen').hidden")
            assert page.is_hidden("#chosen-link") and page.get_attribute("#chosen-link", "href") is None
        page.select_option("#coloured", "languages")
        assert "<b>x</b>" in page.inner_text("#legend")
        assert page.title().startswith("Map of")


@pytest.mark.full
@pytest.mark.parametrize("count", rest_full([1, 2, 3], 1))
def test_a_few_points_are_seen(home: Home, count: int) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", count))
    draw_source(home, "wiki")
    with read(page_of(home, "wiki")) as reader:
        assert reader.measure(reader.shot())[1] > 2
        assert reader.page.inner_text("#counts").startswith(f"{count} document")


# Drawing takes as long as a processor would take that draws alone; what is drawn is noted.
SLOW_DRAWING = """
window.drawn = [];
const draw = WebGL2RenderingContext.prototype.drawArrays;
WebGL2RenderingContext.prototype.drawArrays = function (mode, first, count) {
  window.drawn.push(count);
  for (const end = performance.now() + count / 200; performance.now() < end; );
  draw.call(this, mode, first, count);
};
"""


@pytest.mark.full
def test_a_map_of_many_points_turns_smoothly_and_rests_whole(wiki: Path) -> None:
    """While a view moves that is slow to draw, only some of its points are drawn; once it rests, all of them."""
    many = 24_000
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', wiki.read_text(), re.DOTALL)[1])  # type: ignore[index]
    zeros = np.zeros(many, np.int64)
    texts = [""] * many
    places = np.random.default_rng(7).uniform(-1, 1, (many, 3))
    points = Points(places, zeros, zeros, zeros, texts, texts, texts, texts)
    numbers = pack_numbers(points, np.empty((0, 2), np.int64))
    wiki.write_text(render("many", "", {**facts, "documents": many, "links": 0}, numbers, pack_texts(points)))
    with read(wiki, script=SLOW_DRAWING) as reader:
        reader.wait(f"window.drawn.at(-1) === {many}")
        focus_map(reader)

        def turn() -> bool:
            press(reader, "ArrowRight")
            return bool(reader.page.evaluate(f"window.drawn.at(-1) <= {many} / 2"))

        wait_until(turn)
        reader.wait(f"window.drawn.at(-1) === {many}")
        rested = reader.page.evaluate("window.drawn.length")
        reader.shot()
        assert reader.page.evaluate("window.drawn.length") == rested, "nothing is drawn while nothing moves"


def test_addresses_and_texts_come_back_as_they_were_packed(home: Home) -> None:
    urls = [
        "https://example.org/Water_stove_1",
        "https://example.org/Water_stove_1#Water_stove_1",
        "https://example.org/é/Water_1",
        "https://example.org/é/Water_2",
        "https://example.org/" + "x" * 300,
        "https://example.org/" + "x" * 299 + "y",
        "https://example.org/𝒳𝒴/a",
        "https://example.org/𝒳𝒵/$&",
        "",
    ]
    titles = ["Water stove 1", "Water stove 1", "Water 1", "Water 2", "𝒳 Title", "日本語", "x", "$& $1", "no address"]
    documents = [titled("wiki", number, title) for number, title in enumerate(titles)]
    folder = fill_map(home, "wiki", documents)
    with Ledger(folder.ledger) as ledger:
        for number, url in enumerate(urls):
            ledger.connection.execute("UPDATE documents SET url = ? WHERE path = ?", (url, f"page{number}.html"))
    draw_source(home, "wiki")
    texts = {
        (point["title"], point["url"])
        for point in json.loads(page_of(home, "wiki").with_suffix(".json").read_text())["points"]
    }
    assert texts == set(zip(titles, urls, strict=True))
    with read(page_of(home, "wiki")) as reader:
        page = reader.page
        shown = set()
        page.fill("#search", "all about")
        for number in range(len(titles)):
            page.click(f"#results button >> nth={number}")
            shown.add((page.inner_text("#chosen-title"), page.get_attribute("#chosen-link", "href") or ""))
        assert shown == texts


@pytest.mark.parametrize("scheme", rest_full(["light", "dark"], "light"))
@pytest.mark.parametrize("width", rest_full([1000, 360], 360))
def test_axe_finds_no_barrier(wiki: Path, scheme: Scheme, width: int) -> None:
    axe = real_input(ROOT / ".cache" / "axe" / "axe.min.js", "axe-core (tests/real/fetch_inputs.sh)").read_text()
    # The map's own rules let no other script in; the test's is to be.
    with read(wiki, scheme, width=width, bypass_csp=True) as reader:
        reader.page.evaluate(axe)
        found = reader.page.evaluate("axe.run().then(found => found.violations)")
    serious = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found if one["impact"] in GRAVE]
    assert not serious
