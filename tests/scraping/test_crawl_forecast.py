"""How far a scrape says that it is: never further than its frontier allows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.phases import scrape
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.phases.scrape import ScrapeParams
from kbjobs.scraping import crawl
from kbjobs.scraping.crawl_forecast import CrawlForecast
from kbjobs.store.sources import SourceFolder
from tests.phases.test_index_offline import Silent, context
from tests.scraping.test_scrape import page, tree
from tests.servers.site_server import Answer, Page, SiteServer


def test_pages_bring_others() -> None:
    forecast = CrawlForecast(may_grow=True)
    assert forecast.expect(3) == float("inf")  # nothing is known yet
    forecast.note(0, 1)
    assert forecast.expect(1) == float("inf")
    for read in range(1, 30):
        forecast.note(read, 3 * read)
    assert forecast.expect(60) == float("inf")
    for read in range(30, 90):
        forecast.note(read, 87 + (read - 30) // 2)
    assert forecast.expect(30) == pytest.approx(60, abs=2)  # each brings half a page
    for read in range(90, 200):
        forecast.note(read, 200)
    assert forecast.expect(10) == 10
    assert forecast.expect(0) == 0


def test_without_links_nothing_is_to_come_but_the_queue() -> None:
    assert CrawlForecast(may_grow=False).expect(7) == 7


class Recorder(Silent):
    """Remembers the progress that it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[tuple[int, int, str, bool]] = []

    def report(
        self, current: int, total: int, unit: str, message: str, span: tuple[float, float], eta_matters: bool
    ) -> None:
        if span == crawl.CRAWLING:
            self.reports.append((current, total, message, eta_matters))


def scrape_reported(home: Home, url: str, **params: Any) -> list[tuple[int, int, str, bool]]:
    folder = SourceFolder(home.sources, "site")
    plan = scrape.plan(PhaseRequest(home, Settings(home), ScrapeParams(url=url, request_delay=0.02, **params), folder))
    recorder = Recorder()
    scrape.JOB_TYPE.run(replace(context(home, "site"), reporter=recorder), plan.params)
    return recorder.reports


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl, "LOOK", 0.01)


@pytest.mark.parametrize("shape", ["tree", "chain", "star"])
def test_it_is_never_further_than_it_says(home: Home, shape: str) -> None:
    count = 79
    pages: dict[str, Answer] = tree(count)
    if shape == "chain":
        pages = {f"/{number or ''}": page(f"P{number}", f"/{number + 1}") for number in range(count)}
        pages[f"/{count - 1}"] = page("last")
    elif shape == "star":
        pages = {"/": page("Start", *(f"/{number}" for number in range(1, count)))}
        pages |= {f"/{number}": page(f"P{number}", "/") for number in range(1, count)}
    with SiteServer(pages) as server:
        reports = scrape_reported(home, server.url, max_depth=100, page_limit=100)
    shown = reached = 0.0
    for current, total, _, _ in reports:
        shown = max(shown, min(1.0, current / total) if total else 0.0)
        reached = max(reached, current / count)
        assert shown <= reached + 0.12, (current, total)
    assert reports[-1][:2] == (count, count)  # however far apart the looks before it were


def test_no_time_is_told_while_only_another_try_is_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl, "FIRST_WAIT", 1.0)
    pages: dict[str, Answer] = {"/": page("Start", "/slow"), "/slow": [Page("", 503), page("At last")]}
    with SiteServer(pages) as server:
        reports = scrape_reported(home, server.url)
    waiting = [(current, total, message) for current, total, message, eta_matters in reports if not eta_matters]
    assert waiting
    assert all(current < total and "the next try in " in message for current, total, message in waiting)
