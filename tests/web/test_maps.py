"""A map in the builder: shown in its sandbox, with a way back to the sources, whichever version has drawn it."""

from __future__ import annotations

import lzma

import httpx
import pytest
from playwright.sync_api import Page, expect

from kbjobs.config.home import Home
from kbjobs.web.maps import WAY_BACK
from tests.conftest import ROOT
from tests.maps.maps import draw_several, draw_source, fill_map, mixed_documents, page_of
from tests.web.conftest import Builder

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["wiki", "map"])
def test_a_map_has_its_way_back(home: Home, page: Page, builder: Builder, name: str) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 40))
    draw_source(home, "wiki")
    draw_several(home, "wiki")
    page.goto(f"{builder.base}/maps/{name}")
    page.wait_for_selector("html[data-ready]")
    page.get_by_role("link", name="Sources").click()
    page.wait_for_url(f"{builder.base}/sources**")
    expect(page.get_by_role("heading", name="Sources").first).to_be_visible()
    page.go_back()
    page.wait_for_selector("html[data-ready]")
    page.wait_for_url(f"{builder.base}/maps/{name}**")


def test_a_map_in_its_sandbox_searches_and_notes_its_view(home: Home, page: Page, builder: Builder) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 40))
    draw_source(home, "wiki")
    page.goto(f"{builder.base}/maps/wiki")
    page.wait_for_selector("html[data-ready]")
    page.fill("#search", "antenna 9")
    page.keyboard.press("Enter")
    expect(page.locator("#chosen-title")).to_have_text("Radio antenna 9")
    page.wait_for_url("**#at=*doc=*")
    for _ in range(3):
        page.reload()
        expect(page.locator("#chosen-title")).to_have_text("Radio antenna 9")
        page.keyboard.press("ArrowLeft")
    assert page.evaluate("self.origin") == "null"


def test_a_map_of_an_earlier_version_opens_and_searches(home: Home, page: Page, builder: Builder) -> None:
    """Nobody draws a map again because kbjobs was upgraded: the file was written by 0.2.0, of 40 documents."""
    home.visualisation.mkdir(parents=True)
    page_of(home, "wiki").write_bytes(lzma.decompress((ROOT / "tests" / "frozen" / "map-0.2.0.html.xz").read_bytes()))
    page.goto(f"{builder.base}/maps/wiki")
    page.wait_for_selector("html[data-drawn]")
    page.fill("#search", "antenna 9")
    page.keyboard.press("Enter")
    expect(page.locator("#chosen-title")).to_have_text("Radio antenna 9")
    expect(page.locator("#chosen-link")).to_have_attribute("href", "https://example.org/wiki/page9.html")
    expect(page.locator("#trouble")).to_be_hidden()
    page.get_by_role("link", name="← Sources").click()
    page.wait_for_url(f"{builder.base}/sources**")


def test_the_file_has_no_way_back(home: Home, api: httpx.Client) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 10))
    draw_source(home, "wiki")
    assert "Sources</a>" not in page_of(home, "wiki").read_text()
    answer = api.get("/maps/wiki")
    assert answer.text.count(f'href="{WAY_BACK}"') == 1
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts allow-popups ")
    assert "allow-same-origin" not in answer.headers["content-security-policy"]
    assert (
        answer.text.replace(f'<a id="back" href="{WAY_BACK}">← Sources</a>\n', "") == page_of(home, "wiki").read_text()
    )


def test_what_a_map_asks_for_without_the_cookie_tells_strangers_nothing(home: Home, builder: Builder) -> None:
    navigation = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    with httpx.Client(base_url=builder.base, trust_env=False) as bare:
        answer = bare.get(WAY_BACK, headers=navigation)
        assert answer.status_code == 401 and "location.replace" in answer.text and "set-cookie" not in answer.headers
        assert str(home.path) not in answer.text and builder.token not in answer.text
        # It is asked again once: from our own site, without the cookie, the answer is that of everybody.
        for changed in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "cors"}):
            assert "location.replace" not in bare.get(WAY_BACK, headers={**navigation, **changed}).text
        assert "location.replace" not in bare.get("/jobs", headers=navigation).text
        assert bare.post(WAY_BACK, headers=navigation).status_code in (401, 405)
        assert bare.get(WAY_BACK, headers={**navigation, "Host": "evil.example"}).status_code in (400, 421)
