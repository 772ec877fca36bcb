"""A wiki that lies, repeats itself or never ends: the run ends, and what was had stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.scraping.mediawiki import wiki_api, wiki_listing
from tests.scraping.test_scrape import files_of, scrape_site
from tests.servers.site_server import Page, Request, SiteServer

START = (
    '<html><head><meta name="generator" content="MediaWiki 1.43.0"><link rel="EditURI" type="application/rsd+xml"'
    ' href="/w/api.php?action=rsd"><title>Start</title></head><body><p>Welcome.</p></body></html>'
)
Answer = Callable[[dict[str, str]], Any]


def wiki_of(answer: Answer, server: SiteServer) -> None:
    """Let a site be a wiki whose API answers what a function of the parameters gives: JSON, or a page as it is."""

    def reply(request: Request) -> Page:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        found = answer(asked)
        if isinstance(found, Page):
            return found
        return Page(json.dumps(found), type="application/json")

    server.pages |= {"/": START, "/w/api.php": reply}


def page(server: SiteServer, number: int, title: str = "", **more: Any) -> dict[str, Any]:
    title = title or f"Page {number}"
    return {"pageid": number, "ns": 0, "title": title, "lastrevid": number,
            "fullurl": f"{server.url}/wiki/{title.replace(' ', '_')}", **more}  # fmt: skip


def usual(server: SiteServer, asked: dict[str, str]) -> Any:
    """What an honest wiki of three pages answers."""
    if asked.get("meta") == "siteinfo":
        return {"query": {"general": {"sitename": "W", "server": server.url}, "rightsinfo": {"text": "", "url": ""},
                          "namespaces": {"0": {"id": 0, "content": True}}, "statistics": {"articles": 3}}}  # fmt: skip
    if asked.get("action") == "parse":
        number = asked["pageid"]
        return {"parse": {"title": f"Page {number}", "revid": int(number), "text": f"<p>Text {number}.</p>",
                          "categories": []}}  # fmt: skip
    if "generator" in asked:
        return {"batchcomplete": True, "query": {"pages": [page(server, number) for number in (1, 2, 3)]}}
    return {"curtimestamp": "2026-01-01T00:00:00Z", "query": {"recentchanges": []}}


def scrape_wiki(home: Home, answer: Callable[[SiteServer, dict[str, str]], Any], **params: Any) -> dict[str, Any]:
    with SiteServer({}) as server:
        wiki_of(lambda asked: answer(server, asked), server)
        return dict(scrape_site(home, server.url, **params).counts)


def test_an_honest_one(home: Home) -> None:
    assert scrape_wiki(home, usual)["pages"] == 3
    assert set(files_of(home)) == {"Page_1.html", "Page_2.html", "Page_3.html"}


@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", b"[]", b'{"error": 7}', b"[" * 200_000, b'{"query": {"general": 1}}']
)
def test_an_api_that_is_none_is_passed_over(home: Home, body: bytes) -> None:
    """The site is read as any other."""
    assert scrape_wiki(home, lambda server, asked: Page(body, type="application/json"))["pages"] == 1
    assert list(files_of(home)) == ["index.html"]


def test_an_api_that_is_closed_is_passed_over(home: Home) -> None:
    assert scrape_wiki(home, lambda server, asked: Page("no", 403))["pages"] == 1


def test_a_list_that_goes_round_in_circles(home: Home) -> None:
    def answer(server: SiteServer, asked: dict[str, str]) -> Any:
        found = usual(server, asked)
        return {**found, "continue": {"gapcontinue": "A"}} if "generator" in asked else found

    with pytest.raises(KbjobsError, match=r"list of pages cannot be read.*repeats itself"):
        scrape_wiki(home, answer)


def test_a_batch_that_never_is_complete(home: Home) -> None:
    def answer(server: SiteServer, asked: dict[str, str]) -> Any:
        found = usual(server, asked)
        return {"query": found["query"], "continue": {"incontinue": "1"}} if "generator" in asked else found

    with pytest.raises(KbjobsError, match=r"list of pages cannot be read.*repeat themselves"):
        scrape_wiki(home, answer)


def test_a_list_without_end(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiki_listing, "MAX_ANSWERS", 30)
    count = 0

    def answer(server: SiteServer, asked: dict[str, str]) -> Any:
        nonlocal count
        if "generator" not in asked:
            return usual(server, asked)
        count += 1
        return {"batchcomplete": True, "continue": {"gapcontinue": str(count)}, "query": {"pages": []}}

    with pytest.raises(KbjobsError, match=r"list of pages cannot be read.*does not end"):
        scrape_wiki(home, answer)
    assert count == 30


def test_strange_pages_are_left_out(home: Home) -> None:
    strange: list[dict[str, Any]] = [
        {"pageid": "1"}, {"pageid": True}, {"pageid": -4}, {"pageid": 2**70}, {"lastrevid": None}, {"ns": 8},
        {"fullurl": "https://other.example.org/x"}, {"fullurl": "file:///etc/passwd"}, {"fullurl": 7},
        {"redirect": True}, {"missing": True}, {"fullurl": "http://[::1"},
    ]  # fmt: skip

    def answer(server: SiteServer, asked: dict[str, str]) -> Any:
        if "generator" not in asked:
            return usual(server, asked)
        pages = [{**page(server, 50 + number), **one} for number, one in enumerate(strange)]
        return {"batchcomplete": True, "query": {"pages": [*pages, page(server, 1), "no page", None]}}

    assert scrape_wiki(home, answer)["pages"] == 1


@pytest.mark.parametrize("title", ["../../../etc/passwd", "CON", "a/../b", "x" * 300, "<script>", "\u202e", "/", "."])
def test_strange_titles_stay_below_the_pages(home: Home, title: str) -> None:
    def answer(server: SiteServer, asked: dict[str, str]) -> Any:
        found = usual(server, asked)
        if asked.get("action") == "parse":
            found["parse"]["title"] = title
        return found

    assert scrape_wiki(home, answer)["pages"] == 3
    assert len(files_of(home)) == 3
    assert all(b"<script>" not in data for data in files_of(home).values())


@pytest.mark.parametrize("parse", [None, [], {"title": 1, "text": "x"}, {"title": "x"}, {"title": "x", "text": None}])
def test_a_page_that_is_none_fails_alone(home: Home, parse: Any) -> None:
    def answer(server: SiteServer, asked: dict[str, str]) -> Any:
        is_it = asked.get("action") == "parse" and asked["pageid"] == "2"
        return {"parse": parse} if is_it else usual(server, asked)

    counts = scrape_wiki(home, answer)
    assert (counts["pages"], counts["causes"]) == (2, {"broken reply": 1})


def test_an_error_of_one_page_is_named(home: Home) -> None:
    def answer(server: SiteServer, asked: dict[str, str]) -> Any:
        is_it = asked.get("action") == "parse" and asked["pageid"] == "2"
        return {"error": {"code": "contentmodel-mismatch", "info": "x"}} if is_it else usual(server, asked)

    assert scrape_wiki(home, answer)["causes"] == {"the wiki says contentmodel-mismatch": 1}


def test_a_wiki_that_stops_answering_is_waited_for_and_then_left(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiki_api, "FIRST_WAIT", 0.001)
    monkeypatch.setattr("kbjobs.scraping.throttle.MAX_BACKOFF", 0.01)
    asked_for = 0

    def answer(server: SiteServer, asked: dict[str, str]) -> Any:
        nonlocal asked_for
        if "generator" not in asked:
            return usual(server, asked)
        asked_for += 1
        return Page("down", 503)

    with pytest.raises(KbjobsError, match=r"the wiki no longer answers: .*HTTP 503"):
        scrape_wiki(home, answer)
    assert asked_for == wiki_api.MAX_TRIES


def test_a_list_that_was_broken_off_goes_on_where_it_was(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiki_api, "MAX_TRIES", 1)
    marks = []
    is_broken = True

    def answer(server: SiteServer, asked: dict[str, str]) -> Any:
        if "generator" not in asked:
            return usual(server, asked)
        marks.append(asked.get("gapcontinue"))
        if marks[-1] == "B" and is_broken:
            return Page("", 500)
        if marks[-1] == "B":
            return {"batchcomplete": True, "query": {"pages": [page(server, 4)]}}
        return {**usual(server, asked), "continue": {"gapcontinue": "B"}}

    with SiteServer({}) as server:
        wiki_of(lambda asked: answer(server, asked), server)
        with pytest.raises(KbjobsError, match=r"no longer answers"):
            scrape_site(home, server.url)
        is_broken = False
        assert scrape_site(home).counts["pages"] == 4
    assert marks == [None, "B", "B"]
