"""What a page says of how it wants to be taken: where it leads, whose copy it is, what robots may do with it."""

from __future__ import annotations

import json

import pytest

from kbjobs.config.home import Home
from kbjobs.scraping.links import read_links, read_robots_tag
from tests.conftest import Kbjobs
from tests.scraping.test_scrape import files_of, page, scrape_site
from tests.servers.site_server import Answer, Page, SiteServer

AT = "https://example.org/docs/a"
TEXT = "<p>The kettle sings in the kitchen, and the cat sleeps beside the stove until the evening comes.</p>" * 3


@pytest.mark.parametrize(
    ("meta", "moved_to", "links"),
    [
        ('content="0; url=/start"', "https://example.org/start", ["https://example.org/start"]),
        ("content=\"0;URL='start'\"", "https://example.org/docs/start", ["https://example.org/docs/start"]),
        ('content="0,b"', "https://example.org/docs/b", ["https://example.org/docs/b"]),
        ('content="30; url=/later"', "", ["https://example.org/later"]),
        ('content="60"', "", []),
        ('content="0; url=javascript:alert(1)"', "", []),
        ('content=""', "", []),
    ],
)
def test_a_meta_refresh(meta: str, moved_to: str, links: list[str]) -> None:
    found = read_links(f'<meta http-equiv="Refresh" {meta}>', AT)
    assert (found.moved_to, list(found.links)) == (moved_to, links)


@pytest.mark.parametrize(
    ("value", "may_follow", "may_keep"),
    [
        ("", True, True), ("noindex", True, False), ("NOFOLLOW", False, True), ("none", False, False),
        ("noindex, nofollow", False, False), ("otherbot: noindex", True, True), ("kbjobs: noindex", True, False),
        ("otherbot: noindex, nofollow, kbjobs: nofollow", False, True),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST", True, True), ("noarchive, max-snippet: 20", True, True),
    ],
)  # fmt: skip
def test_an_x_robots_tag(value: str, may_follow: bool, may_keep: bool) -> None:
    rules = read_robots_tag(value)
    assert (rules.may_follow, rules.may_keep) == (may_follow, may_keep)


def test_frames_of_the_same_host_are_links() -> None:
    found = read_links('<iframe src="/inner"></iframe><iframe src="https://ads.example.com/x"></iframe>', AT)
    assert found.links == ("https://example.org/inner",)


def test_they_are_followed_in_a_scrape(home: Home) -> None:
    pages: dict[str, Answer] = {
        "/": Page('<meta http-equiv="refresh" content="0; url=/start">moved'),
        "/start": page("Start", "/hidden", "/leaf", "/paper.pdf"),
        "/hidden": page("Hidden", "/behind", headers={"X-Robots-Tag": "noindex"}),
        "/behind": page("Behind"),
        "/leaf": page("Leaf", "/never", headers={"X-Robots-Tag": "nofollow"}),
        "/never": page("Never"),
        "/paper.pdf": Page(b"%PDF-1.4", type="application/pdf", headers={"X-Robots-Tag": "noindex"}),
    }
    with SiteServer(pages) as server:
        counts = scrape_site(home, server.url).counts
        assert sorted(files_of(home)) == ["behind.html", "leaf.html", "start.html"]
        assert counts["skipped_for"] == {"noindex": 2}
        assert "/never" not in server.paths()


def test_pages_that_send_each_other_their_readers_end(home: Home) -> None:
    moved = '<meta http-equiv="refresh" content="0; url={}">'
    with SiteServer({"/": page("Start", "/a"), "/a": moved.format("/b"), "/b": moved.format("/a")}) as server:
        assert scrape_site(home, server.url).counts["pages"] == 1
        assert server.paths().count("/a") == 1


def test_of_two_pages_with_the_same_text_the_canonical_one_is_kept(home: Home) -> None:
    def styled(text: str, style: str) -> str:
        return f"<head><title>A</title><link rel=canonical href=/a></head><body class={style}><nav>{style}</nav>{text}"

    pages: dict[str, Answer] = {
        "/": page("Start", "/a?print=1", "/a?view=other"),
        "/a": styled(TEXT, "screen"),
        "/a?print=1": styled(TEXT, "print"),
        "/a?view=other": styled(TEXT.replace("kettle", "pot"), "other"),  # it lies
    }
    with SiteServer(pages) as server:
        for _ in range(2):
            counts = scrape_site(home, server.url).counts
            names = sorted(files_of(home))
            assert names[1:] == ["a.html", "index.html"] and names[0].startswith("a-")
            assert "pot sings" in files_of(home)[names[0]].decode()
            assert (counts["pages"], counts["same"]) == (3, 1)
        assert (counts["saved"], counts["removed"]) == (0, 0)


def test_what_was_skipped_is_counted_and_listed_by_its_reason(home: Home, kbjobs: Kbjobs) -> None:
    pages: dict[str, Answer] = {
        "/": page("Start", "/private", "/hidden", "/data", "/gone", "/broken"),
        "/robots.txt": Page("User-agent: *\nDisallow: /private", type="text/plain"),
        "/hidden": page("Hidden", headers={"X-Robots-Tag": "noindex"}),
        "/data": Page("{}", type="application/json"),
        "/broken": Page("", 403),
    }
    with SiteServer(pages) as server:
        ended = kbjobs("run", "scrape", "site", "--url", server.url, "--request-delay", "0", check=3)
        assert "3 skipped: " in ended.stdout
        for cause in ("1 robots.txt forbids it", "1 noindex", "1 type application/json"):
            assert cause in ended.stdout
        log = kbjobs("logs", "1").stdout
        assert f"skipped: {server.url}/private: robots.txt forbids it" in log
        listed = kbjobs("sources", "skipped", "site", "--json")
        found = {one["place"].removeprefix(server.url): (one["is_failure"], one["reason"])
                 for one in json.loads(listed.stdout)}  # fmt: skip
        assert found == {
            "/private": (False, "robots.txt forbids it"), "/hidden": (False, "noindex"),
            "/data": (False, "type application/json"), "/broken": (True, "HTTP 403"),
        }  # fmt: skip
        assert "/private" in kbjobs("sources", "skipped", "site").stdout
