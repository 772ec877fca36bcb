"""Answers that keep a parser busy for minutes: they cost their time, and neither the scrape nor a wish to stop."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.errors import JobCancelled
from kbjobs.phases import scrape
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.phases.scrape import ScrapeParams
from kbjobs.scraping import parsing
from kbjobs.scraping.parsing_service import ParsingService
from kbjobs.store.sources import SourceFolder
from tests.phases.test_index_offline import context
from tests.scraping.test_scrape import files_of, page, scrape_site
from tests.servers.site_server import Answer, Page, SiteServer

pytestmark = pytest.mark.processes

ATTRIBUTES = "<p " + " ".join(f"a{number}=1" for number in range(300_000)) + ">The kettle sings.</p>"
# Each value ends what looks like a tag: all of them reach the parser, which compares each with all before it.
QUOTED = "<p " + " ".join(f"a{number}='>'" for number in range(120_000)) + ">The kettle sings.</p>"


class Slow(ParsingService):
    """A parser that never ends with some answers."""

    def page(self, reply, kind, url, wants_copy):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        if b"endless" in reply.body:
            len(str(10**80_000_000))
        return super().page(reply, kind, url, wants_copy)

    def sitemap(self, body):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        if b"endless" in body:
            len(str(10**80_000_000))
        return super().sitemap(body)

    def robots(self, text, user_agent):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        if "endless" in text:
            len(str(10**80_000_000))
        return super().robots(text, user_agent)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    monkeypatch.setattr(parsing, "SERVICE", f"{__name__}:Slow")
    home.prepare()
    home.config_file.write_text("document_seconds = 3.0\n")  # the process imports this module, too


def test_a_tag_with_very_many_attributes_is_read_without_most_of_them(home: Home) -> None:
    began = time.monotonic()
    with SiteServer({"/": page("Start", "/long"), "/long": f"<title>Long</title>{ATTRIBUTES}"}) as server:
        assert scrape_site(home, server.url).counts["pages"] == 2
    assert "The kettle sings" in files_of(home)["long.html"].decode()
    assert time.monotonic() - began < 20


def test_a_page_that_takes_too_long_is_named_and_the_next_one_is_read(home: Home) -> None:
    home.prepare()
    home.config_file.write_text("document_seconds = 3.0\n")
    pages: dict[str, Answer] = {"/": page("Start", "/long", "/next"), "/long": QUOTED, "/next": page("Next")}
    with SiteServer(pages) as server:
        counts = scrape_site(home, server.url).counts
    assert (counts["pages"], counts["causes"]) == (2, {"takes too long to read": 1})
    assert sorted(files_of(home)) == ["index.html", "next.html"]


def test_so_are_a_sitemap_and_a_robots_txt(home: Home, slow: None) -> None:
    robots = Page("User-agent: *\nDisallow:\nSitemap: {}", type="text/plain")
    with SiteServer({"/": page("Start"), "/robots.txt": robots, "/map.xml": "<urlset>endless</urlset>"}) as server:
        server.pages["/robots.txt"] = Page(str(robots.body).format(f"{server.url}/map.xml"), type="text/plain")
        assert scrape_site(home, server.url).counts["pages"] == 1
        server.pages["/robots.txt"] = Page("endless", type="text/plain")
        with pytest.raises(Exception, match=r"robots.txt cannot be read: .*takes more than 3 s"):
            scrape_site(home, server.url, "other")


@pytest.mark.parametrize("place", ["/long", "/map.xml", "/robots.txt"])
def test_a_wish_to_stop_is_heard_while_it_parses(home: Home, slow: None, place: str) -> None:
    home.config_file.write_text("document_seconds = 300.0\n")
    folder = SourceFolder(home.sources, "site")
    with SiteServer({"/": page("Start", "/long"), "/long": page("endless")}) as server:
        server.pages["/map.xml"] = "<urlset>endless</urlset>"
        rules = "endless" if place == "/robots.txt" else f"Sitemap: {server.url}/map.xml" if place == "/map.xml" else ""
        server.pages["/robots.txt"] = Page(rules, type="text/plain")
        plan = scrape.plan(PhaseRequest(home, Settings(home), ScrapeParams(url=server.url, request_delay=0.0), folder))
        asked: list[float] = []

        def is_stopping() -> bool:
            """Half a second after the parser has been given what it never ends with."""
            if not asked and place in server.paths():
                asked.append(time.monotonic() + 0.5)
            return bool(asked) and time.monotonic() > asked[0]

        with pytest.raises(JobCancelled):
            scrape.JOB_TYPE.run(replace(context(home, "site"), is_stopping=is_stopping), plan.params)
        assert time.monotonic() - asked[0] < 2
