"""Composing a chain in the browser: by clicks, by keys, by dragging; what is saved runs on the command line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from kbjobs.config.home import Home
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import describe, list_ids, register
from tests.conftest import Kbjobs, write_pages
from tests.web.conftest import Builder

OFFLINE = ["metadata", "index_offline", "suggest_tags"]
pytestmark = pytest.mark.usefixtures("minilm")


def toml(page: Page) -> dict[str, object]:
    """What the page's text says once it has settled."""
    expect(page.locator("#toml")).not_to_have_value("")
    return tomllib.loads(page.locator("#toml").input_value())


def jobs_of(page: Page) -> list[str]:
    """The phases as the text has them."""
    return [row["job"] for row in toml(page).get("phase", [])]  # type: ignore[attr-defined]


def expect_jobs(page: Page, wanted: list[str]) -> None:
    """Wait until the text has these phases, in this order."""
    # Not with wait_for_function: the page's policy forbids what that does after its first look.
    phase = r"\[\[phase\]\]"
    other = f"(?:(?!{phase}).)*"
    phases = "".join(f'{phase}{other}job = "{job}"{other}' for job in wanted)
    expect(page.locator("#toml")).to_have_value(re.compile(f"^{other}{phases}$", re.DOTALL))
    assert jobs_of(page) == wanted


def test_by_clicks_from_an_empty_page_to_the_end_of_the_job(
    home: Home, compose: Page, builder: Builder, kbjobs: Kbjobs
) -> None:
    page = compose
    for label in ("Metadata", "Index (Offline)", "Suggest Tags"):
        page.get_by_role("button", name=label, exact=True).click()
    page.get_by_label("Source", exact=True).fill("wiki")
    page.get_by_role("button", name="Add source").click()
    page.get_by_label("Name", exact=True).fill("nightly")
    page.get_by_role("button", name="3 Suggest Tags").click()
    page.locator("#param-provider").select_option(label="local")
    page.locator(".advanced summary").click()
    page.locator("#phase-weight").fill("5")
    page.locator("#phase-weight").press("Tab")
    expect_jobs(page, OFFLINE)
    expect(page.locator("#toml")).to_have_value(re.compile("weight = 5"))
    assert toml(page) == {
        "name": "nightly",
        "source": "wiki",
        "phase": [
            {"job": "metadata"},
            {"job": "index_offline"},
            {"job": "suggest_tags", "params": {"provider": "local"}, "weight": 5},
        ],
    }
    page.get_by_role("button", name="Validate").click()
    expect(page.locator("#told")).to_contain_text("Valid")
    page.get_by_role("button", name="Price and time").click()
    expect(page.locator("#outlook")).to_contain_text("wiki: costs nothing")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#file")).to_have_text("nightly.toml")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#phases li")).to_have_count(3)
    expect(page.locator("#command")).to_have_text("kbjobs chain nightly")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url("**/jobs/1")
    expect(page.locator(".state").first).to_contain_text("done", timeout=60_000)
    expect(page.locator("#log")).to_contain_text("metadata")
    assert JobManager(home).get_status(1).exit_code == 0
    assert describe(home, "wiki").documents == 4
    page.get_by_role("link", name="History").click()
    page.get_by_label("Type").fill("nightly")
    page.get_by_role("button", name="Show").click()
    assert "type=nightly" in page.url
    expect(page.locator("tbody tr")).to_have_count(1)
    # The file that was saved runs on the command line as it is.
    ended = kbjobs("chain", "nightly")
    assert "job 2 nightly wiki: completed" in ended.stdout


def press_until(page: Page, key: str, selector: str, max_presses: int = 120) -> None:
    """Press a key until what has the focus is of a kind."""
    for _ in range(max_presses):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{selector} was never reached by {key}")


def test_by_keys_alone(home: Home, compose: Page) -> None:
    page = compose
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for job, key in (("suggest_tags", "Tab"), ("metadata", "Shift+Tab"), ("index_offline", "Tab")):
        press_until(page, key, f"[data-add={job}]")
        page.keyboard.press("Enter")
    expect_jobs(page, ["suggest_tags", "metadata", "index_offline"])
    press_until(page, "Tab", "#source")
    page.keyboard.type("wiki")
    page.keyboard.press("Enter")
    expect(page.locator("#sources")).to_contain_text("wiki")
    press_until(page, "Tab", "#phases li:nth-child(1) .pick")
    page.keyboard.press("Alt+ArrowDown")
    page.keyboard.press("Alt+ArrowDown")
    expect_jobs(page, OFFLINE)
    assert page.evaluate("document.activeElement.closest('li').innerText").startswith("≡")
    page.keyboard.press("Delete")
    expect_jobs(page, OFFLINE[:2])
    page.keyboard.press("Control+z")
    expect_jobs(page, OFFLINE)
    page.keyboard.press("Control+Shift+z")
    expect_jobs(page, OFFLINE[:2])
    page.keyboard.press("Control+z")
    expect_jobs(page, OFFLINE)
    press_until(page, "Tab", "#run")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/1")
    expect(page.locator(".state").first).to_contain_text("done", timeout=60_000)
    assert JobManager(home).get_status(1).exit_code == 0


def test_by_dragging(compose: Page) -> None:
    page = compose
    for job in ("index_offline", "suggest_tags", "metadata"):
        page.locator(f"[data-add={job}]").click()
    expect_jobs(page, ["index_offline", "suggest_tags", "metadata"])
    page.locator("#phases li:nth-child(3)").drag_to(page.locator("#phases li:nth-child(1)"))
    expect_jobs(page, OFFLINE)
    page.get_by_role("button", name="Move down phase 1, Metadata").click()
    page.get_by_role("button", name="Move up phase 2, Metadata").click()
    page.get_by_role("button", name="Duplicate phase 3, Suggest Tags").click()
    page.get_by_role("button", name="Remove phase 4, Suggest Tags").click()
    expect_jobs(page, OFFLINE)


def test_what_is_wrong_is_shown_at_its_phase_with_a_change_that_mends_it(compose: Page) -> None:
    page = compose
    page.locator("[data-add=index_offline]").click()
    page.get_by_label("Source", exact=True).fill("wiki")
    page.get_by_role("button", name="Add source").click()
    first = page.locator("#phases li:nth-child(1)")
    expect(first.locator(".finding.warning")).to_contain_text("source 'wiki' has no metadata")
    first.get_by_role("button", name="Add Metadata before").click()
    expect_jobs(page, ["metadata", "index_offline"])
    expect(page.locator(".finding")).to_have_count(0)
    page.get_by_role("button", name="Move down phase 1, Metadata").click()
    page.get_by_role("button", name="Move Metadata up").click()
    expect_jobs(page, ["metadata", "index_offline"])
    # By the text: a parameter nobody knows, a key that is missing, then no TOML at all.
    page.locator("#text-details summary").click()
    text = page.locator("#toml").input_value()
    page.locator("#toml").fill(text.replace('job = "index_offline"', 'job = "index_offline"\nparams = { limit = 0 }'))
    expect(page.locator("#phases li:nth-child(2) .finding.error")).to_contain_text("limit")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#told")).to_contain_text("name")
    page.locator("#toml").fill("[[phase]\n")
    expect(page.locator("#told")).to_contain_text("TOML: line 1")
    expect(page.locator("#phases li")).to_have_count(2)  # what was right is still there
    page.locator("#toml").fill(text)
    expect(page.locator(".finding")).to_have_count(0)


def test_comments_and_both_ways_of_editing(compose: Page) -> None:
    page = compose
    page.locator("#text-details summary").click()
    page.locator("#toml").fill('# mine\nname = "mine"\n\n# first\n[[phase]]\njob = "metadata" # all\n')
    expect(page.get_by_label("Name", exact=True)).to_have_value("mine")
    page.locator("#phases li:nth-child(1) .pick").click()
    page.locator("#param-force").check()
    expect(page.locator("#toml")).to_have_value(re.compile("force = true"))
    text = page.locator("#toml").input_value()
    assert text.startswith('# mine\nname = "mine"\n') and '# first\n[[phase]]\njob = "metadata" # all\n' in text


def test_a_chain_that_somebody_else_changed_is_not_overwritten(home: Home, compose: Page) -> None:
    page = compose
    page.locator("[data-open=generate_offline]").click()
    expect_jobs(page, OFFLINE)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#file")).to_have_text("generate_offline.toml")
    saved = home.chains / "generate_offline.toml"
    saved.write_text(saved.read_text() + "# theirs\n")
    page.get_by_label("Description").fill("mine")
    page.get_by_label("Description").press("Tab")
    expect(page.locator("#file")).to_have_text("generate_offline.toml, changed")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#told")).to_contain_text("changed by someone else")
    assert saved.read_text().endswith("# theirs\n")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete", exact=True).last.click()
    expect(page.locator("#told")).to_contain_text("is deleted")
    assert not saved.exists()


def test_a_source_that_the_first_job_makes_and_a_missing_key(compose: Page) -> None:
    page = compose
    page.locator("[data-add=scrape]").click()
    page.locator("#param-url").fill("http://127.0.0.1:9/")
    page.locator("#param-url").press("Tab")
    page.locator("[data-add=index_online]").click()
    expect(page.locator("#source")).to_have_attribute("placeholder", "id, also of a new source")
    page.get_by_label("Source", exact=True).fill("guide")
    page.get_by_role("button", name="Add source").click()
    expect(page.locator("#phases li:nth-child(2) .finding.error")).to_contain_text("OPENAI_API_KEY")
    page.get_by_role("button", name="Price and time").click()
    expect(page.locator("#outlook")).to_contain_text("A submit would be refused now")
    expect(page.locator("#outlook")).to_contain_text("~100")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#told")).to_contain_text("config set-secret OPENAI_API_KEY")


def test_import_and_export(compose: Page, tmp_path: Path) -> None:
    page = compose
    chain = tmp_path / "theirs.toml"
    chain.write_text('# kept\n[[phase]]\njob = "metadata"\n')
    page.locator("#import-file").set_input_files(chain)
    expect_jobs(page, ["metadata"])
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    assert Path(download.value.path()).read_text() == chain.read_text()
    chain.write_text("not = = toml")
    page.locator("#import-file").set_input_files(chain)
    expect(page.locator("#told")).to_contain_text("theirs.toml: line 1")
    expect_jobs(page, ["metadata"])


def test_known_sources_are_chosen_by_a_click_each(home: Home, page: Page, builder: Builder, tmp_path: Path) -> None:
    for name in {"wiki", "guide"} - set(list_ids(home)):
        register(home, name, [write_pages(tmp_path / name, 1)])
    page.goto(f"{builder.base}/builder")
    page.wait_for_selector("body[data-ready]")
    page.get_by_role("button", name="Choose wiki").click()
    page.get_by_role("button", name="Choose guide").click()
    expect(page.get_by_role("button", name="Choose wiki")).to_be_hidden()
    expect(page.locator("#toml")).to_have_value(re.compile(r'sources = \["wiki", "guide"\]'))
    page.get_by_role("button", name="Remove source wiki").click()
    expect(page.get_by_role("button", name="Choose wiki")).to_be_visible()
    expect(page.locator("#toml")).to_have_value(re.compile('source = "guide"'))


def test_sources_are_chosen_and_dropped_by_keys_in_one_place(compose: Page) -> None:
    page = compose
    page.get_by_role("button", name="Choose wiki").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove source wiki")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Choose wiki")).to_be_focused()
    press_until(page, "Tab", "#source")
    page.keyboard.type("brand-new")
    page.keyboard.press("Enter")
    expect(page.locator("#toml")).to_have_value(re.compile('source = "brand-new"'))
    expect(page.locator("#source")).to_be_focused()
    page.get_by_role("button", name="Remove source brand-new").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#source")).to_be_focused()  # a source that is not there is in no list
    expect(page.locator("#toml")).not_to_have_value(re.compile("brand-new"))


def test_on_a_phone_sources_come_first_and_a_finger_hits_them(compose: Page) -> None:
    page = compose
    page.set_viewport_size({"width": 390, "height": 800})
    choose = page.get_by_role("button", name="Choose wiki")
    box, field = choose.bounding_box(), page.locator("#source").bounding_box()
    assert box is not None and field is not None
    assert box["height"] >= 32 and box["y"] < field["y"] and field["width"] > 120
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    choose.click()
    expect(page.get_by_role("button", name="Remove source wiki")).to_be_in_viewport()


def test_the_filter_adds_its_first_by_enter(page: Page, builder: Builder) -> None:
    page.goto(f"{builder.base}/builder")
    page.wait_for_selector("body[data-ready]")
    page.locator("#filter").fill("inspect zim")
    expect(page.locator(".category:visible")).to_have_count(1)
    page.locator("#filter").fill("metadata")
    page.locator("#filter").press("Enter")
    expect(page.locator("#phases li .pick")).to_have_text(["1 Metadata"])
    expect(page.locator("#lines")).to_have_text(re.compile(r"^1\s*2"))
