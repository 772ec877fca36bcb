"""The pages of jobs, sources, search and history: as they happen, for everybody, whatever strangers have written."""

from __future__ import annotations

import os
import re
import signal
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from kbjobs.config.home import Home
from kbjobs.services.job_overview import MAX_ENDED
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.jobs import Limits
from tests.conftest import ROOT, Kbjobs, real_input, rest_full, wait_ended, wait_until, write_pages
from tests.servers.line import HOST, Line
from tests.web.conftest import Builder, running

HOSTILE = "</title><script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
PAGES = ("/jobs", "/jobs/1", "/history", "/history?status=failed", "/sources", "/sources/wiki", "/search",
         "/search?words=water", "/builder", "/jobs/99",
         "/sources/wiki/documents", "/sources/wiki/documents/1?why=1",
         "/sources/wiki/documents/1", "/sources/wiki/skipped")  # fmt: skip


@pytest.fixture
def filled(home: Home, tmp_path: Path, test_types: None) -> JobManager:
    """A home with a source and jobs in each state."""
    pages = write_pages(tmp_path / "pages", 3)
    (pages / "evil.html").write_text(
        f"<html><head><title>{escape(HOSTILE)}</title></head><body><p>Boiling water {escape(HOSTILE)}"
        " makes steam that lifts the lid of the kettle.</p></body></html>"
    )
    register(home, "wiki", [pages])
    for name in ("a", "b"):
        register(home, name, [pages])
    manager = JobManager(home)
    wait_ended(manager, manager.submit("metadata", "wiki"))
    failing = manager.submit(
        "steps",
        "wiki",
        number=2,
        count=1,
        fail=True,
        says="the server is away" if "KBJOBS_TEST_SCREENSHOTS" in os.environ else HOSTILE,
    )
    wait_ended(manager, failing)
    manager.submit("steps", "a", count=3000, seconds=0.1)
    manager.submit("steps", "a", number=3, count=1)
    wait_until(lambda: manager.get_status(3).progress > 0)
    return manager


def test_a_job_of_the_command_line_appears_is_cancelled_and_goes_on(
    home: Home, page: Page, kbjobs: Kbjobs, tmp_path: Path, test_types: None
) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    expect(page.locator("#running")).to_have_text("Running 0")
    kbjobs("run", "steps", "wiki", "--count", "3000", "--seconds", "0.1", "--detach")
    expect(page.locator("#running")).to_have_text("Running 1", timeout=10_000)
    expect(page.locator("#daemon")).to_have_text("● daemon running")
    progress = page.locator("[data-progress='1']")
    expect(progress).not_to_have_text("0 %", timeout=20_000)
    page.get_by_role("button", name="Pause updates").click()
    paused = progress.inner_text()
    manager = JobManager(home)
    wait_until(lambda: f"{manager.get_status(1).shown_progress:g} %" != paused)
    assert progress.inner_text() == paused
    page.get_by_role("button", name="Pause updates").click()
    page.get_by_role("button", name="Cancel job 1").click()
    expect(page.locator("[data-job='1'] .state")).to_contain_text("cancelled", timeout=20_000)
    page.goto(page.url.replace("/jobs", "/jobs/1"))
    page.get_by_role("button", name="Resume job 1").click()
    expect(page.locator(".state").first).to_contain_text("running", timeout=20_000)
    kbjobs("cancel", "1")
    expect(page.locator(".state").first).to_contain_text("cancelled", timeout=20_000)


def test_what_was_interrupted_is_resumed_or_discarded(
    home: Home, page: Page, builder: Builder, filled: JobManager
) -> None:
    page.goto(f"{builder.base}/jobs")
    row = page.locator("section[aria-labelledby=interrupted] [data-job='2']")
    expect(row).to_contain_text("failed")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Retry all failed").click()
    expect(page.locator("#told")).to_contain_text("1 done.")
    wait_until(lambda: filled.get_status(2).attempt == 2 and filled.get_status(2).has_ended)
    page.goto(f"{builder.base}/jobs/2")
    page.get_by_role("button", name="Discard job 2").click()
    expect(page.locator(".state").first).to_contain_text("cancelled")
    assert filled.get_resumable_jobs() == []


def test_filters_live_in_the_address_and_act_on_all_that_match(
    home: Home, page: Page, builder: Builder, filled: JobManager
) -> None:
    page.goto(f"{builder.base}/history?text=ONERROR&days=30")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_label("Error or message")).to_have_value("ONERROR")
    page.get_by_label("Status").select_option("failed")
    page.get_by_label("Source").fill("wiki")
    other = filled.submit("steps", "b", count=1, fail=True, says=HOSTILE)  # the list is made anew around the form
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "status=failed" in page.url and "text=ONERROR" in page.url
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Retry from the start all").click()
    expect(page.locator("#told")).to_contain_text("1 done.")
    wait_until(lambda: filled.get_status(2).attempt == 2)
    assert [filled.get_status(number).attempt for number in (1, 3, other)] == [1, 1, 1]
    page.goto(f"{builder.base}/history?status=nonsense")
    expect(page.locator(".error")).to_contain_text("the filter cannot be used")


@pytest.mark.processes
def test_without_a_daemon_the_page_says_how_jobs_start(
    home: Home, page: Page, builder: Builder, filled: JobManager
) -> None:
    page.goto(f"{builder.base}/jobs")
    pid = filled.get_daemon().pid
    assert pid is not None
    worker = filled.get_status(3).pid
    os.kill(pid, signal.SIGKILL)
    expect(page.locator("#daemon")).to_have_text("✗ daemon not running", timeout=10_000)
    expect(page.locator(".note")).to_contain_text("kbjobs daemon start")
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    page.reload()
    expect(page.locator("article .state")).to_contain_text("worker is dead")
    page.get_by_role("button", name="Resume job 3").click()
    wait_until(lambda: filled.get_status(3).attempt == 2)


def test_what_strangers_wrote_is_shown_as_text(page: Page, builder: Builder, filled: JobManager) -> None:
    for path in (
        "/jobs",
        "/jobs/2",
        "/history",
        "/search?words=steam",
        "/sources/wiki",
        "/sources/wiki/documents",
        "/sources/wiki/documents/1",
    ):
        page.goto(builder.base + path)
        expect(page.locator("h1")).to_have_count(1)
        assert page.title() != "taken"
    page.goto(f"{builder.base}/jobs/2")
    expect(page.locator("#log")).to_contain_text("<script>")
    expect(page.locator(".error").first).to_contain_text("<img src=x")
    page.goto(f"{builder.base}/search?words=steam")
    expect(page.locator(".hits")).to_contain_text("onerror")


def test_the_moments_of_a_job_that_waits_are_told(
    home: Home, builder: Builder, tmp_path: Path, test_types: None
) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    night = datetime(2099, 1, 31, 22, tzinfo=UTC).timestamp()
    manager = JobManager(home)
    manager.enqueue([manager.plan(manager.find_chain("steps", {}), "wiki", 0, Limits(night, night + 8 * 3600))])
    with builder.client() as client:
        for path in ("/jobs", "/jobs/1", "/history"):
            text = " ".join(re.sub("<[^>]*>", "", client.get(path).text).replace("·", "").split())
            assert "not before 2099-01-31 22:00 UTC until 2099-02-01 06:00 UTC" in text, path


def test_the_lists_are_there_without_scripts(browser: Browser, builder: Builder, filled: JobManager) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(builder.url)
    for path, wanted in (
        ("/jobs", "Running 1"), ("/history", "steps"), ("/sources", "wiki"), ("/sources/wiki", "Languages"),
        ("/builder", "The builder needs JavaScript"), ("/jobs/2", "failed"), ("/search?words=steam", "kettle"),
    ):  # fmt: skip
        page.goto(builder.base + path)
        assert wanted in " ".join(page.inner_text("body").split())
    context.close()


@pytest.mark.parametrize("scheme", rest_full(["light", "dark"], "light"))
def test_nobody_is_kept_out(
    browser: Browser, builder: Builder, filled: JobManager, scheme: str, tmp_path: Path
) -> None:
    """axe-core finds nothing serious on any page, wide and narrow; nothing is wider than the window."""
    axe = real_input(ROOT / ".cache" / "axe" / "axe.min.js", "axe-core (tests/real/fetch_inputs.sh)").read_text()
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(builder.url)
    target = Path(os.environ.get("KBJOBS_TEST_SCREENSHOTS", tmp_path))
    for path in PAGES:
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(builder.base + path)
        if path == "/builder":
            page.wait_for_selector("body[data-ready]")
            check_axe(page, axe, f"{path}, empty")
            page.locator("[data-open=generate_offline]").click()
            page.get_by_label("Source", exact=True).fill("wiki")
            page.get_by_role("button", name="Add source").click()
            page.locator("#phases li:nth-child(2) .pick").click()
            page.get_by_role("button", name="Move up phase 2, Index (Offline)").click()
            page.wait_for_selector(".finding")
            page.get_by_role("button", name="Price and time").click()
            expect(page.locator("#outlook table")).to_have_count(1, timeout=20_000)
        check_axe(page, axe, path)
        if "?" not in path and path != "/jobs/99":
            name = path.strip("/").replace("/", "-").replace("jobs-1", "job").replace("sources-wiki", "source")
            page.evaluate("document.querySelector('.place').textContent = '~/kb'")
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=target / f"builder-{name}-{scheme}.png")
        page.set_viewport_size({"width": 360, "height": 800})
        check_axe(page, axe, f"{path} at 360 px")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        # Whatever fonts are installed: wide letters, half as large again.
        page.evaluate("document.body.style.font = '22px/32px monospace'")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} in large letters"
    context.close()


def check_axe(page: Page, axe: str, what: str) -> None:
    page.evaluate(axe)
    found = page.evaluate("axe.run().then(found => found.violations)")
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert not serious, (what, [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in serious])


def test_the_script_is_small() -> None:
    scripts = (ROOT / "kbjobs" / "web" / "static").glob("*.js")
    assert sum(script.stat().st_size for script in scripts) <= 60 * 1024
    assert (ROOT / "kbjobs" / "web" / "static" / "style.css").stat().st_size <= 20 * 1024


@pytest.mark.full
def test_the_heap_does_not_grow_with_events(
    home: Home, page: Page, builder: Builder, tmp_path: Path, test_types: None
) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    manager = JobManager(home)
    session = page.context.new_cdp_session(page)

    def heap() -> float:
        session.send("HeapProfiler.collectGarbage")
        return float(session.send("Runtime.getHeapUsage")["usedSize"])

    def submit(count: int) -> None:
        for number in range(count):  # each is several events: it is queued, begins, has a phase, ends
            wait_ended(manager, manager.submit("steps", "wiki", count=20, seconds=0.0, number=number))

    submit(MAX_ENDED + 5)  # the list is as long as it gets
    expect(page.locator("#ended")).to_have_text(f"Done within a day {MAX_ENDED}")
    first = heap()
    submit(250 - MAX_ENDED - 5)
    expect(page.locator("section[aria-labelledby=ended] [data-job='250']")).to_have_count(1)
    assert heap() <= 1.2 * first


def test_a_laptop_that_slept_sees_what_has_happened_since(
    home: Home, browser: Browser, kbjobs: Kbjobs, tmp_path: Path, test_types: None
) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    with running("--name", HOST) as builder, Line(builder.port) as line:
        context = browser.new_context()
        page = context.new_page()
        page.goto(builder.url.replace("127.0.0.1", HOST))
        expect(page.locator("#running")).to_have_text("Running 0")
        line.cut()
        expect(page.locator("#told")).to_contain_text("No connection", timeout=15_000)
        kbjobs("run", "steps", "wiki", "--count", "1")
        line.mend()
        expect(page.locator("#ended")).to_have_text("Done within a day 1", timeout=15_000)
        expect(page.locator("#told")).to_have_text("")
        context.close()


def test_the_browser_tells_of_an_end_if_asked(home: Home, page: Page, kbjobs: Kbjobs, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    page.context.grant_permissions(["notifications"])
    # A browser without a screen shows none: what it is asked to show is noted.
    page.evaluate(
        "() => { window.noted = []; const real = Notification; window.Notification = class extends real {"
        " constructor(title, options) { super(title, options); noted.push(title); } } }"
    )
    page.get_by_role("button", name="Notify me").click()
    expect(page.get_by_role("button", name="Notify me")).to_have_attribute("aria-pressed", "true")
    kbjobs("run", "steps", "wiki", "--count", "5", "--seconds", "0.2")
    expect(page.locator("#ended")).to_have_text("Done within a day 1")
    wait_until(lambda: page.evaluate("noted"))
    assert page.evaluate("noted") == ["Job 1 steps wiki: completed"]


def test_what_is_paused_is_told_with_what_ends_it(home: Home, builder: Builder, tmp_path: Path) -> None:
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    manager = JobManager(home)
    with builder.client() as client:
        assert "is paused" not in client.get("/jobs").text
        manager.pause()
        manager.pause("wiki")
        shown = client.get("/jobs").text
    assert "The queue has been paused since" in shown and "<code>kbjobs unpause</code>" in shown
    assert "Source wiki has been paused since" in shown and "<code>kbjobs unpause --source wiki</code>" in shown


def test_news_during_a_click_do_not_take_its_button_away(
    home: Home, page: Page, builder: Builder, filled: JobManager
) -> None:
    page.goto(f"{builder.base}/jobs")
    page.on("dialog", lambda dialog: dialog.accept())
    expect(page.locator("#running")).to_be_visible()
    button = page.get_by_role("button", name="Retry all failed")
    expect(button).to_be_visible()
    box = wait_until(button.bounding_box)  # none while the page is made anew
    page.evaluate("document.querySelector('#main > *').id = 'before-the-news'")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.evaluate("const pressed = Date.now(); Date.real = Date.now; Date.now = () => pressed")  # however long it takes
    with page.expect_response(f"{builder.base}/jobs"):
        filled.submit("metadata", "wiki")
    assert page.locator("#before-the-news").count() == 1
    page.mouse.up()
    page.evaluate("Date.now = Date.real")
    expect(page.locator("#told")).to_contain_text("1 done.")
    expect(page.locator("#before-the-news")).to_have_count(0)
