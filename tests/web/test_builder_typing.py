"""What was typed last on the builder's page counts, however slow the answers; what cannot be read stops an action."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from kbjobs.config.home import Home
from tests.conftest import rest_full, wait_until

TYPED = re.compile(r"/api/job-builder/(edit|parse)$")
ACTIONS = {"Save": "/api/chains/", "Run": "/run", "Validate": "/validate", "Price and time": "/forecast"}
OTHERS = ("Export", "Copy", "Delete", "New")


@dataclass
class SlowApi:
    """The part of the API that reads what was typed: it answers at once, or once its answers are released."""

    page: Page
    is_holding: bool = False
    held: list[Route] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.route(TYPED, self.take)

    def take(self, route: Route) -> None:
        """Answer a request, or keep it waiting."""
        if self.is_holding:
            self.held.append(route)
        else:
            route.continue_()

    def hold(self) -> None:
        """From now on nothing is answered."""
        self.is_holding = True

    def release(self) -> None:
        """Answer all that waits, and what comes after it."""
        self.is_holding = False
        while self.held:
            self.held.pop(0).continue_()


@pytest.fixture
def slow(compose: Page) -> SlowApi:
    """A chain "night" with a phase, saved, on a page whose answers can be held back. Running ends in a refusal."""
    page = compose
    page.route("**/api/job-builder/run", lambda route: route.fulfill(status=409, json={"detail": "not in this test"}))
    page.locator("[data-add=metadata]").click()
    page.get_by_label("Name", exact=True).fill("night")
    page.locator("#text-details summary").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#file")).to_have_text("night.toml")
    return SlowApi(page)


def type_description(page: Page, word: str) -> None:
    page.get_by_label("Description").fill(word)


def type_parameter(page: Page, word: str) -> None:
    page.locator("#param-language_filter").fill(word)


def type_text(page: Page, word: str) -> None:
    old = page.locator("#toml").input_value()
    page.locator("#toml").fill(re.sub("(# .*)?$", f"# {word}", old))


def type_source(page: Page, word: str) -> None:
    page.get_by_label("Source", exact=True).fill(word)


WAYS = [type_description, type_parameter, type_text, type_source]


def press(page: Page, action: str) -> None:
    page.get_by_role("button", name=action, exact=True).last.click()


def record(page: Page) -> list[Request]:
    """What the page asks for from now on."""
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))
    return sent


def is_of(address: str, word: str, request: Request) -> bool:
    """Whether a request goes to an address with a word in its body."""
    return address in request.url and word in (request.post_data or "")


PAIRS = [(way, action) for action in ACTIONS for way in WAYS]
EVERYDAY = [(type_description, "Save"), (type_parameter, "Save"), (type_text, "Run"), (type_source, "Price and time")]


@pytest.mark.parametrize(("way", "action"), rest_full(PAIRS, *EVERYDAY))
def test_an_action_takes_what_was_typed_just_before_it(
    home: Home, slow: SlowApi, way: Callable[[Page, str], None], action: str
) -> None:
    """The click comes at once, once the page has asked what the text says, and once it has the answer."""
    page = slow.page
    for moment in ("at once", "asked", "answered"):
        word = f"w{moment[:2]}"
        sent = record(page)
        if moment == "answered":
            with page.expect_response(TYPED):
                way(page, word)
                page.locator("body").press("Tab")
        else:
            slow.hold()
            way(page, word)
        if moment == "asked":
            with page.expect_request(TYPED):
                page.locator("body").press("Tab")
        with page.expect_request(partial(is_of, ACTIONS[action], word)):
            press(page, action)
            if moment != "answered":
                wait_until(lambda: page.evaluate("1") and slow.held)
                # The page validates by itself, too.
                assert action == "Validate" or not [one for one in sent if ACTIONS[action] in one.url]
            slow.release()
        if action == "Save":
            expect(page.locator("#told")).to_contain_text("Saved as night.toml")
            expect(page.locator("#file")).to_have_text("night.toml")
            assert word in (home.chains / "night.toml").read_text()
        if action == "Run":
            expect(page.locator("#told")).to_contain_text("not in this test")


def test_edits_faster_than_answers_are_sent_one_after_the_other_and_none_is_lost(slow: SlowApi) -> None:
    page = slow.page
    slow.hold()
    type_description(page, "first")
    with page.expect_request(TYPED):
        page.locator("#resumable").uncheck()
    type_parameter(page, "de")
    page.locator("[data-add=index_offline]").click()
    page.get_by_role("button", name="Move up phase 2, Index (Offline)").click()
    type_source(page, "wiki")
    page.locator("#source").press("Enter")
    expect(page.locator("#sources")).to_contain_text("wiki")
    assert len(slow.held) == 1
    slow.release()
    expect(page.locator("#toml")).to_have_value(re.compile('source = "wiki"'))
    text = page.locator("#toml").input_value()
    assert 'description = "first"' in text
    assert "resumable = false" in text
    assert text.index("index_offline") < text.index("metadata") < text.index('language_filter = "de"')


def make_text_unreadable(page: Page) -> None:
    page.locator("#toml").fill("[[phase]\n")


def make_parameter_unreadable(page: Page) -> None:
    page.locator("[data-add=gather]").click()
    page.locator("#param-where").fill("here")
    page.locator("#param-numbers").fill("[1, 2")


def make_number_unreadable(page: Page) -> None:
    page.locator(".advanced summary").click()
    page.locator("#phase-retries").fill("-7")


def make_edit_refused(page: Page) -> None:
    page.route("**/edit", lambda route: route.fulfill(status=422, json={"detail": "cannot be written as TOML"}))
    page.get_by_label("Description").fill("refused")


SPOILT = [
    (make_text_unreadable, "TOML: line 1"),
    (make_parameter_unreadable, "numbers: This is not JSON."),
    (make_number_unreadable, "retries: "),
    (make_edit_refused, "cannot be written as TOML"),
]


@pytest.mark.parametrize(("spoil", "reason"), rest_full(SPOILT, *SPOILT[:2]))
def test_what_cannot_be_read_stops_every_action(
    home: Home, slow: SlowApi, tmp_path: Any, spoil: Callable[[Page], None], reason: str
) -> None:
    page = slow.page
    saved = (home.chains / "night.toml").read_text()
    spoil(page)
    if spoil is make_parameter_unreadable:  # the field before it is written
        expect(page.locator("#toml")).to_have_value(re.compile("here"))
    sent = record(page)
    page.on("dialog", lambda dialog: dialog.accept())
    for action in (*ACTIONS, *OTHERS, "Metadata"):
        press(page, action)
        message = f"{action} was not done. {reason}" if action != "Metadata" else reason
        if spoil is not make_edit_refused or action != "Metadata":  # which is one more change that waits
            expect(page.locator("#told")).to_contain_text(message)
    page.locator("[data-open=generate_offline]").click()
    expect(page.locator("#told")).to_contain_text(f"Open was not done. {reason}")
    chain = tmp_path / "other.toml"
    chain.write_text('[[phase]]\njob = "metadata"\n')
    page.locator("#import-file").set_input_files(chain)
    expect(page.locator("#told")).to_contain_text(f"Import was not done. {reason}")
    assert not [one.url for one in sent if not re.search("(edit|parse|validate)$", one.url)]
    assert (home.chains / "night.toml").read_text() == saved
    expect(page.locator("#file")).to_have_text("night.toml, changed")
    page.unroute("**/edit")
    press(page, "Undo")  # the way out: what cannot be read goes, the rest stays
    press(page, "Save")
    expect(page.locator("#told")).to_contain_text("Saved as night.toml")


def test_what_is_mended_is_taken_with_what_was_typed_beside_it(home: Home, slow: SlowApi) -> None:
    page = slow.page
    text = page.locator("#toml").input_value()
    page.locator("#toml").fill("[[phase]\n")
    type_description(page, "beside it")
    press(page, "Save")
    expect(page.locator("#told")).to_contain_text("Save was not done. TOML: line 1")
    expect(page.get_by_label("Description")).to_have_value("beside it")
    page.locator("#toml").fill(f"# mended\n{text}")
    press(page, "Save")
    expect(page.locator("#told")).to_contain_text("Saved as")
    saved = (home.chains / "night.toml").read_text()
    assert saved.startswith("# mended\n")
    assert "beside it" in saved


def test_saved_is_said_of_what_is_on_the_screen_alone(home: Home, slow: SlowApi) -> None:
    page = slow.page
    writes: list[Route] = []
    page.route("**/api/chains/night", lambda route: writes.append(route))
    type_description(page, "one")
    with page.expect_request("**/api/chains/night"):
        press(page, "Save")
    type_description(page, "two")
    writes.pop().continue_()
    expect(page.locator("#told")).to_contain_text("later changes are not in the file")
    expect(page.locator("#file")).to_have_text("night.toml, changed")
    assert 'description = "one"' in (home.chains / "night.toml").read_text()
    page.unroute("**/api/chains/night")
    press(page, "Save")
    press(page, "Save")  # the second one is not told that somebody else has changed the file
    expect(page.locator("#told")).to_have_text("Saved as night.toml in chains/ of the home.")
    assert 'description = "two"' in (home.chains / "night.toml").read_text()
    type_description(page, "three")
    expect(page.locator("#told")).to_have_text("")
    expect(page.locator("#file")).to_have_text("night.toml, changed")
    expect(page.locator("#command")).to_have_text("kbjobs chain night.toml")
    press(page, "Save")
    expect(page.locator("#told")).to_have_text("Saved as night.toml in chains/ of the home.")
    page.get_by_role("button", name="Duplicate phase 1, Metadata").click()
    expect(page.locator("#told")).to_have_text("")


def test_what_is_changed_while_a_chain_is_opened_is_changed_in_it(slow: SlowApi) -> None:
    page = slow.page
    opening: list[Route] = []
    page.route("**/api/chains/generate_offline", lambda route: opening.append(route))
    with page.expect_request("**/api/chains/generate_offline"):
        page.locator("[data-open=generate_offline]").click()
    type_source(page, "wiki")
    page.locator("[data-add=zim_inspect]").click()
    opening.pop().continue_()
    expect(page.locator("#toml")).to_have_value(re.compile("zim_inspect"))
    text = page.locator("#toml").input_value()
    assert 'source = "wiki"' in text
    assert "suggest_tags" in text
    press(page, "Undo")
    press(page, "Undo")
    press(page, "Undo")
    expect(page.locator("#file")).to_have_text("night.toml")


def test_a_click_and_a_key_reach_what_they_were_meant_for_after_a_field_was_changed(slow: SlowApi) -> None:
    page = slow.page
    page.locator("[data-add=index_offline]").click()
    page.locator(".advanced summary").click()
    page.locator("#phase-weight").fill("77")
    page.get_by_role("button", name="Move up phase 2, Index (Offline)").click()
    expect(page.locator("#phases li:nth-child(1) .pick")).to_have_text("1 Index (Offline)")
    expect(page.locator("#toml")).to_have_value(re.compile("weight = 77"))
    page.locator("#phase-name").fill("vectors")
    page.locator("#phase-name").press("Tab")
    page.keyboard.type("5")
    page.locator("#phase-retries").click()
    page.keyboard.type("3")
    press(page, "Save")
    expect(page.locator("#told")).to_contain_text("Saved as")
    text = page.locator("#toml").input_value()
    assert 'name = "vectors"' in text
    assert "weight = 5\n" in text
    assert "retries = 3" in text


def test_an_answer_during_a_click_does_not_take_its_button_away(slow: SlowApi) -> None:
    page = slow.page
    page.locator("[data-add=index_offline]").click()
    type_source(page, "wiki")
    page.locator("#source").press("Enter")
    expect(page.locator("#toml")).to_have_value(re.compile("wiki"))
    up = page.get_by_role("button", name="Move up phase 2, Index (Offline)")
    page.locator(".advanced summary").click()
    for number, button in enumerate((page.get_by_role("button", name="Remove source wiki"), up)):
        page.locator("#phase-weight").fill(str(number + 3))
        button.hover()
        with page.expect_response(TYPED):
            page.mouse.down()
        expect(page.locator("#toml")).to_have_value(re.compile(f"weight = {number + 3}"))
        page.mouse.up()
    expect(page.locator("#phases li:nth-child(1) .pick")).to_have_text("1 Index (Offline)")
    expect(page.locator("#toml")).not_to_have_value(re.compile("wiki"))


def test_each_tab_has_its_own_draft(home: Home, slow: SlowApi) -> None:
    page = slow.page
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector("body[data-ready]")
    expect(other.locator("#phases li")).to_have_count(0)
    other.locator("[data-add=zim_inspect]").click()
    expect(other.locator("#toml")).to_have_value(re.compile("zim_inspect"))
    type_description(page, "mine")
    press(page, "Save")
    expect(page.locator("#told")).to_contain_text("Saved as")
    for tab, jobs in ((page, "Metadata"), (other, "Inspect ZIM")):
        tab.reload()
        tab.wait_for_selector("body[data-ready]")
        expect(tab.locator("#phases li")).to_have_count(1)
        expect(tab.locator("#phases")).to_contain_text(jobs)
    expect(page.locator("#file")).to_have_text("night.toml")
    expect(other.locator("#file")).to_have_text("new chain, not saved")
    other.close()


def test_a_reload_brings_back_what_was_typed_last(home: Home, slow: SlowApi) -> None:
    page = slow.page
    slow.hold()
    type_parameter(page, "fr")
    type_description(page, "not left yet")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    slow.release()
    expect(page.get_by_label("Description")).to_have_value("not left yet")
    expect(page.locator("#file")).to_have_text("night.toml, changed")
    press(page, "Save")
    expect(page.locator("#told")).to_contain_text("Saved as")
    saved = (home.chains / "night.toml").read_text()
    assert 'description = "not left yet"' in saved
    assert 'language_filter = "fr"' in saved
    page.locator("#text-details summary").click()
    page.locator("#toml").fill("[[phase]\n")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#toml")).to_have_value("[[phase]\n")
    press(page, "Run")
    expect(page.locator("#told")).to_contain_text("Run was not done. TOML: line 1")
    kept = json.loads(page.evaluate("sessionStorage.getItem('kbjobs-draft')"))
    assert kept["text"] == "[[phase]\n"
    assert page.evaluate("localStorage.getItem('kbjobs-draft')") is None
