"""The pages of jobs: why what waits waits, several at once, the timeline, the log's tools, run again with changes."""

from __future__ import annotations

import html
import os
import re
import shlex
import signal
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from playwright.sync_api import Page, expect

from kbjobs.commands import run as run_command
from kbjobs.config.home import Home
from kbjobs.services.job_commands import describe_command, write_chain
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.store.history import list_runs
from kbjobs.store.jobs import Attempt, Job, JobRun, Limits
from kbjobs.store.queue import Queue
from kbjobs.web.drawing import DAY, LANE, LANES, YEARS_HEIGHT, draw_day, draw_segments, draw_timeline, draw_years
from kbjobs.web.template_filters import FILTERS
from tests.conftest import wait_ended, wait_until, write_pages
from tests.web.conftest import Builder


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def text_of(html: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", html).split())


@pytest.fixture
def manager(home: Home, tmp_path: Path, test_types: None) -> JobManager:
    """A manager of a home with two sources."""
    pages = write_pages(tmp_path / "pages", 1)
    register(home, "wiki", [pages])
    register(home, "guide", [pages])
    return JobManager(home)


def test_each_job_that_waits_says_why(manager: JobManager, builder: Builder) -> None:
    running = manager.submit("steps", "wiki", count=3000, seconds=0.1)
    wait_until(lambda: manager.get_status(running).progress > 0)
    behind = manager.submit("steps", "wiki", number=2)
    night = manager.plan(manager.find_chain("steps", {}), "guide", 0, Limits(not_before=4e9))
    [later] = manager.enqueue([night])
    waits = {one.job.id: one for one in manager.get_overview().waiting}
    assert (waits[behind].why, waits[behind].blocker) == ("works on the same source", running)
    assert (waits[later.id].why, waits[later.id].moment) == ("not before", 4e9)
    manager.pause("guide")
    third = manager.submit("steps", "wiki", number=3)
    waits = {one.job.id: one for one in manager.get_overview().waiting}
    assert waits[later.id].why == "source guide is paused: kbjobs unpause --source guide"
    assert waits[third].blocker == running
    with builder.client() as client:
        shown = text_of(client.get("/jobs").text)
    assert f"#{running} works on the same source" in shown
    assert "2 of 3" in shown
    manager.cancel(running)


def test_filters_of_the_page_of_jobs(manager: JobManager, builder: Builder) -> None:
    wait_ended(manager, manager.submit("steps", "wiki", count=1))
    wait_ended(manager, manager.submit("steps", "guide", count=1, fail=True, says="the server is away"))
    with builder.client() as client:
        for query, there, gone in (
            ("source=wiki", "wiki", "the server is away"),
            ("state=resumable", "the server is away", "steps · wiki"),
            ("text=SERVER", "the server is away", "steps · wiki"),
            ("type=metadata", "No job has ended", "steps ·"),
        ):
            shown = text_of(client.get(f"/jobs?{query}").text.partition("</form>")[2])
            assert there in shown and gone not in shown, query


def test_what_another_job_has_done_since_is_not_to_resume(manager: JobManager) -> None:
    failed = manager.submit("steps", "wiki", count=1, fail=True)
    wait_ended(manager, failed)
    assert [job.id for job in manager.get_overview().resumable] == [failed]
    wait_ended(manager, manager.retry(failed).id)
    done = manager.submit("steps", "wiki", count=1)
    wait_ended(manager, done)
    overview = manager.get_overview()
    assert done in [job.id for job in overview.ended]
    assert [run.job_id for run in overview.runs] == [failed, failed, done]


def test_many_jobs_that_wait_cost_no_look_each(manager: JobManager, home: Home) -> None:
    manager.pause()
    for number in range(20):
        manager.submit("steps", "wiki", number=number)
    with Queue(home.state_file) as queue:
        asked: list[str] = []
        queue.connection.set_trace_callback(asked.append)
        assert list_runs(queue, 1.0) == []
    assert sum("attempts" in one for one in asked) == 0


def test_several_are_chosen_and_discarded(manager: JobManager, page: Page, builder: Builder) -> None:
    failed = [manager.submit("steps", source, count=1, fail=True) for source in ("wiki", "guide")]
    for job_id in failed:
        wait_ended(manager, job_id)
    page.goto(f"{builder.base}/jobs")
    expect(page.locator("#chosen")).to_be_hidden()
    for job_id in failed:
        page.get_by_label(f"Choose job {job_id}").check()
    expect(page.locator("#chosen-count")).to_have_text("2 chosen:")
    other = manager.submit("steps", "wiki", count=1, number=9)  # the page is made anew, and what is chosen stays
    wait_ended(manager, other)
    expect(page.locator(f"#ended-{other}")).to_be_visible(timeout=10_000)
    expect(page.get_by_label(f"Choose job {failed[0]}")).to_be_checked()
    page.locator("#chosen-discard").click()
    expect(page.locator("#told")).to_contain_text("2 done.")
    expect(page.locator("#chosen")).to_be_hidden()
    assert manager.get_resumable_jobs() == []


def test_details_stay_open_while_the_page_is_made_anew(manager: JobManager, page: Page, builder: Builder) -> None:
    first = manager.submit("steps", "wiki", count=1)
    wait_ended(manager, first)
    page.goto(f"{builder.base}/jobs")
    page.locator(f"#ended-{first} summary").click()
    expect(page.get_by_role("link", name=f"Job {first}")).to_be_visible()
    second = manager.submit("steps", "wiki", count=1, number=2)
    expect(page.locator(f"#ended-{second}")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("link", name=f"Job {first}")).to_be_visible()


def test_moments_are_told_in_the_time_of_the_reader(manager: JobManager, page: Page, builder: Builder) -> None:
    wait_ended(manager, manager.submit("steps", "wiki", count=1))
    page.goto(f"{builder.base}/jobs/1")
    moment = page.locator("time").first
    expect(moment).to_have_text(re.compile("just now|min"))
    expect(moment).to_have_attribute("title", re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"))


def test_the_log_is_searched_and_cut_down_to_warnings(manager: JobManager, page: Page, builder: Builder) -> None:
    wait_ended(manager, manager.submit("steps", "wiki", count=1, fail=True, says="the server is away"))
    page.goto(f"{builder.base}/jobs/1")
    log = page.locator("#log")
    expect(log).to_contain_text("phase steps begins")
    page.get_by_role("button", name="Warnings only").click()
    expect(log).to_contain_text("the server is away")
    expect(log).not_to_contain_text("INFO")
    page.get_by_role("button", name="Warnings only").click()
    page.locator("#log-find").fill("no such words")
    expect(log).to_have_text("No line of the log matches.")


def test_a_job_is_run_again_with_changes(manager: JobManager, page: Page, builder: Builder) -> None:
    wait_ended(manager, manager.submit("metadata", "wiki", force=True))
    page.goto(f"{builder.base}/jobs/1")
    expect(page.locator("#command")).to_have_text("kbjobs run metadata wiki --force")
    page.get_by_role("link", name="Run again with changes").click()
    expect(page.locator("#toml")).to_have_value(re.compile("force = true"))
    said = tomllib.loads(page.locator("#toml").input_value())
    assert said == {"source": "wiki", "phase": [{"job": "metadata", "params": {"force": True}}]}
    expect(page.locator("#sources")).to_contain_text("wiki")


def test_a_chain_is_said_again(manager: JobManager) -> None:
    job = manager.get_status(manager.submit("generate_offline", "wiki"))
    manager.cancel(job.id)
    assert describe_command(job) == "kbjobs chain generate-offline --source wiki"
    said = tomllib.loads(write_chain(job))
    assert [phase["job"] for phase in said["phase"]] == [phase.job for phase in job.phases]
    assert said["source"] == "wiki"


@pytest.mark.parametrize(
    ("kind", "source", "params", "command"),
    [
        ("metadata", "wiki", {"force": True}, "kbjobs run metadata wiki --force"),
        ("scrape", "wiki", {"url": "https://e.org/a b"}, "kbjobs run scrape wiki --url 'https://e.org/a b'"),
        ("index_offline", "wiki", {"limit": 5}, "kbjobs run index-offline wiki --limit 5"),
        ("zim_inspect", None, {"path": "a.zim"}, "kbjobs run zim-inspect a.zim"),
        ("zim_index", "a", {"path": "a.zim"}, "kbjobs run zim-index a.zim --source a"),
        ("model_download", None, {"model": "bge-m3"}, "kbjobs run model-download bge-m3"),
        ("visualisation", None, {"sources": ["a", "b"]}, "kbjobs run visualisation a b"),
        ("visualisation", "a", {}, "kbjobs run visualisation a"),
        ("delete_source", "wiki", {"confirm": "wiki"}, "kbjobs run delete-source wiki"),
        ("python_function", None, {"function": "m:f"}, ""),
    ],
)
def test_the_command_that_does_the_same_is_one_that_is_understood(
    manager: JobManager, kind: str, source: str | None, params: dict[str, Any], command: str
) -> None:
    job = manager.get_status(manager.submit("steps", "wiki"))
    manager.cancel(job.id)
    [phase] = job.phases
    phase = replace(phase, name=kind, job=kind, params=params, chosen=params)
    assert describe_command(replace(job, type=kind, source=source, phases=(phase,))) == command
    if command:
        _, _, name, *words = shlex.split(command)
        found = typer.main.get_command(run_command.app).get_command(None, name)  # type: ignore[attr-defined]
        found.make_context(name, words)  # it parses


def test_a_switch_that_is_off_and_a_list_are_said_too(manager: JobManager) -> None:
    job = manager.get_status(manager.submit("steps", "wiki"))
    manager.cancel(job.id)
    [phase] = job.phases
    phase = replace(phase, chosen={"seconds": 0, "fail": False, "says": ["a"]})
    command = describe_command(replace(job, phases=(phase,)))
    assert command == "kbjobs run steps wiki --seconds 0 --no-fail --says '[\"a\"]'"


def test_phases_tell_when_they_ran_over_all_attempts(manager: JobManager) -> None:
    job_id = manager.submit("steps", "wiki", count=1)
    job = wait_ended(manager, job_id)
    [phase] = job.phases
    assert phase.started_at is not None and phase.finished_at is not None
    assert job.started_at is not None and job.started_at <= phase.started_at <= phase.finished_at
    drawn = draw_timeline(job, manager.get_attempts(job_id))
    assert drawn is not None and [bar.state for bar in drawn.bars] == ["completed"]


@pytest.mark.processes
def test_a_phase_that_goes_on_keeps_when_it_first_began(manager: JobManager) -> None:
    job_id = manager.submit("steps", "wiki", count=3000, seconds=0.05)
    pid = wait_until(lambda: manager.get_status(job_id).progress > 0 and manager.get_status(job_id).pid)
    begun = manager.get_status(job_id).phases[0].started_at
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: manager.get_status(job_id).attempt == 2 and manager.get_status(job_id).progress > 0)
    assert begun is not None and manager.get_status(job_id).phases[0].started_at == begun
    manager.cancel(job_id)


def test_a_killed_attempt_is_a_mark_and_a_gap(manager: JobManager) -> None:
    job = wait_ended(manager, manager.submit("steps", "wiki", count=1))
    cut = changed(job, phase_started="2026-01-01T00:00:00Z", phase_finished="2026-01-01T01:40:00Z")
    attempts = [
        Attempt(1, "2026-01-01T00:00:00Z", "2026-01-01T00:40:00Z", "requeue"),
        Attempt(2, "2026-01-01T01:00:00Z", "2026-01-01T01:40:00Z", "complete"),
    ]
    drawn = draw_timeline(cut, attempts)
    assert drawn is not None
    first, second = drawn.bars
    assert first.left + first.width < second.left  # nothing ran between them
    assert second.left + second.width == pytest.approx(100)
    assert [(mark.label, mark.moment) for mark in drawn.marks] == [("stopped", "2026-01-01T00:40:00Z")]


def changed(job: Job, phase_started: str, phase_finished: str) -> Job:
    [phase] = job.phases
    return replace(job, phases=(replace(phase, started_at=phase_started, finished_at=phase_finished),))


def test_segments_share_the_bar_by_weight(manager: JobManager) -> None:
    job = manager.get_status(manager.submit("generate_offline", "wiki"))
    manager.cancel(job.id)
    segments = draw_segments(job)
    assert len(segments) == len(job.phases)
    assert segments[-1].left + segments[-1].width == pytest.approx(100, abs=0.5)
    assert all(one.done == 0 for one in segments)


def test_runs_at_the_same_time_lie_beside_each_other() -> None:
    now = time.time()
    runs = [
        JobRun(number, "scrape", None, iso(now - 3600), None if number else iso(now - 1800), None if number else "fail")
        for number in range(LANES + 2)
    ]
    drawn = draw_day([*runs, JobRun(99, "scrape", None, iso(now - 3 * DAY), iso(now - 2 * DAY), "complete")])
    assert len(drawn.bars) == len(runs)
    assert drawn.height == LANES * LANE
    assert {bar.state for bar in drawn.bars} == {"failed", "running"}
    assert all(0 <= bar.left <= 100 and bar.left + bar.width <= 100.001 for bar in drawn.bars)


@pytest.mark.parametrize(
    ("text", "words", "marked"),
    [
        ("<b> Boil, boiling", ("boil", "Boil"), "&lt;b&gt; <mark>Boil</mark>, boiling"),
        ("a kettle and a lid", ("a", "lid"), "a kettle and a <mark>lid</mark>"),
        ("水を沸かす", ("水",), "<mark>水</mark>を沸かす"),
        ("<i>", (), "&lt;i&gt;"),
    ],
)
def test_words_are_marked_as_text(text: str, words: tuple[str, ...], marked: str) -> None:
    assert FILTERS["marked"](text, words) == marked


def test_figures_leave_out_what_is_none() -> None:
    figures = dict(
        FILTERS["figures"]({"documents": 1204, "total_bytes": 2_500_000, "usd": 0.02, "names": ["a"], "ok": True})
    )
    assert figures == {"documents": "1,204", "total": "2.5 MB", "usd": "0.02"}


def test_a_hit_leads_to_its_document_as_it_was_read(manager: JobManager, builder: Builder) -> None:
    wait_ended(manager, manager.submit("metadata", "wiki"))
    with builder.client() as client:
        found = client.get("/search?words=water").text
        link = re.search(r'href="(/sources/wiki/documents/by-id\?doc=[^"]+)"', found)
        assert link is not None and "<mark>" in found and "found by words" in text_of(found)
        shown = client.get(html.unescape(link[1]))
        assert shown.status_code == 200 and "What is kept" in shown.text
        assert 'id="left-out"' not in shown.text
        why = re.search(r'href="(\?[^"]*why=1)', shown.text)
        assert why is not None
        explained = client.get("/sources/wiki/documents/by-id" + html.unescape(why[1])).text
        assert 'id="left-out"' in explained
        assert client.get("/sources/wiki/documents/by-id?doc=nothing").status_code == 404


def test_what_was_left_out_of_a_source_is_listed_with_its_reason(
    manager: JobManager, builder: Builder, tmp_path: Path
) -> None:
    (tmp_path / "pages" / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    wait_ended(manager, manager.submit("metadata", "wiki"))
    with builder.client() as client:
        shown = text_of(client.get("/sources/wiki/skipped").text)
        assert "1 address or file left out" in shown and "broken.pdf" in shown and "failed" in shown
        assert "Nothing was left out" in client.get("/sources/guide/skipped").text


def test_documents_over_the_years() -> None:
    drawn = draw_years({2019: 2, 2021: 8})
    assert drawn is not None
    assert [bar.top for bar in drawn.bars] == [YEARS_HEIGHT * 3 // 4, YEARS_HEIGHT, 0]
    assert [mark.label for mark in drawn.marks] == ["2019", "2021"]
    assert draw_years({2020: 9}) is None and draw_years({}) is None


def test_the_page_of_a_source_shows_when_its_documents_are_of(
    manager: JobManager, builder: Builder, tmp_path: Path
) -> None:
    for year in (2019, 2021):
        head = f'<meta name="date" content="{year}-05-17">'
        (tmp_path / "pages" / f"{year}.html").write_text(f"<html><head>{head}</head><p>Water boils at a hundred.</p>")
    wait_ended(manager, manager.submit("metadata", "wiki"))
    with builder.client() as client:
        assert "Documents by year, 2019 to 2021" in client.get("/sources/wiki").text
