"""The command against hostile sites: its exit code, what it says, what it leaves behind, and how often it asks."""

from __future__ import annotations

import asyncio
import gzip
import itertools
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ExitCode
from kbjobs.scraping import address_guard
from tests.conftest import Kbjobs, fill_disk, wait_until
from tests.scraping.test_scrape import files_of, page, scrape_site, tree
from tests.servers.site_server import Answer, Page, Request, SiteServer, make_certificate

pytestmark = pytest.mark.slow

FAST = ("--request-delay", "0", "--max-depth", "20", "--page-limit", "1000")


def test_the_command_says_what_failed_and_why(home: Home, kbjobs: Kbjobs) -> None:
    pages: dict[str, Answer] = {
        "/": page("Start", "/loop", "/no", "/bomb", "/empty", "/good"), "/good": page("Good"), "/no": Page("", 403),
        "/loop": Page(location="/loop"), "/empty": "",
        "/bomb": Page(gzip.compress(bytes(20_000_000)), headers={"Content-Encoding": "gzip"}),
    }  # fmt: skip
    with SiteServer(pages) as server:
        ended = kbjobs("run", "scrape", "site", "--url", server.url, *FAST, check=ExitCode.PARTIAL)
        causes = {"/bomb": "body too large", "/empty": "empty page", "/loop": "redirect loop", "/no": "HTTP 403"}
        assert "2 pages: 2 saved" in ended.stdout and "4 could not be fetched" in ended.stdout
        assert all(f"1 {cause}" in ended.stdout for cause in causes.values())
        log = kbjobs("logs", "1").stdout
        assert all(f"not fetched: {server.url}{path}: {cause}" in log for path, cause in causes.items())
        assert sorted(files_of(home)) == ["good.html", "index.html"]


def test_no_password_reaches_a_log_or_a_file(home: Home, kbjobs: Kbjobs) -> None:
    with SiteServer({"/a": page("A"), "/old": page("Old"), "/listed": page("Listed")}) as server:
        named = server.url.replace("//", "//user:hunter2@")
        links = [f"{named}/a", f"{named}/gone", "/moved", "/out", "/file", "http://user:hunter2@10.0.0.1/", "/circle"]
        start = f"<link rel=canonical href='{named}/a'><base href='{named}/'><title>Start</title><p>Text</p>"
        server.pages |= {
            "/": start + "".join(f"<a href='{link}'>a link</a>" for link in links),
            "/moved": Page(location=f"{named}/old"),
            "/out": Page(location="http://user:hunter2@example.org/"),
            "/file": Page(location="ftp://user:hunter2@example.org/"),
            "/circle": Page(location=f"{named}/circle"),
            "/robots.txt": Page(location=f"{named}/rules"),
            "/rules": Page("".join(
                f"Sitemap: {one}\n" for one in
                (f"{named}/map.xml", f"{named}/broken.xml", "http://user:hunter2@10.0.0.1/x.xml", f"{named}/gone.xml")
            ), type="text/plain"),
            "/broken.xml": f"<p>{named}</p>",
            "/map.xml": f"<urlset><url><loc>{named}/listed</loc></url></urlset>",
        }  # fmt: skip
        run = kbjobs("run", "scrape", "site", "--url", server.url, *FAST, check=ExitCode.PARTIAL)
        assert sorted(files_of(home)) == ["a.html", "index.html", "listed.html", "old.html"]
        server.pages["/robots.txt"] = Page(location="ftp://user:hunter2@example.org/")
        lost = kbjobs("run", "scrape", "other", "--url", server.url, *FAST, check=ExitCode.FAILED)
        assert "robots.txt cannot be read" in lost.stderr
        written = [run, lost, kbjobs("logs", "1"), kbjobs("logs", "2"), kbjobs("status", "--json")]
        assert "hunter2" not in "\n".join(ended.stdout + ended.stderr for ended in written)
        files = [path for path in home.path.rglob("*") if path.is_file() and not path.is_symlink()]
        assert {"state.db", "scrape.db", "manifest.json", "index.html"} <= {path.name for path in files}
        assert [path for path in files if b"hunter2" in path.read_bytes()] == []


def test_a_certificate_that_nobody_has_signed_is_named(home: Home, kbjobs: Kbjobs, tmp_path: Path) -> None:
    with SiteServer({"/": page("Start")}, certificate=make_certificate(tmp_path)) as server:
        for options in ((), ("--dry-run",)):
            ended = kbjobs("run", "scrape", "site", "--url", server.url, *options, check=ExitCode.FAILED)
            assert f"https://127.0.0.1:{server.port}" in ended.stderr
            assert "TLS certificate is not valid (self-signed certificate)" in ended.stderr
            assert "Another try will not help" in ended.stderr
        assert server.requests == [] and files_of(home) == {}


def test_tls_that_is_none_is_named(kbjobs: Kbjobs) -> None:
    with SiteServer({"/": page("Start")}) as server:
        url = server.url.replace("http:", "https:")
        ended = kbjobs("run", "scrape", "site", "--url", url, check=ExitCode.FAILED)
        assert f"{url}/robots.txt: TLS failure" in ended.stderr


def test_a_site_that_dies_in_the_middle_and_comes_back(home: Home, kbjobs: Kbjobs) -> None:
    pages = tree(200)
    dying = SiteServer()

    def die(request: Request) -> Answer:
        if len(dying.requests) < 60:
            return pages.get(request.path, Page("", 404))
        if len(dying.requests) == 60:
            dying.close()
        return Page("x", reset_after=0)  # of the connections that are open still

    dying.pages["*"] = die
    lost = kbjobs("run", "scrape", "site", "--url", dying.url, *FAST, check=ExitCode.FAILED)
    assert "no longer answers" in lost.stderr and "go on with kbjobs resume JOB" in lost.stderr
    assert 20 < len(files_of(home)) < 60
    with SiteServer(pages, port=dying.port) as server:
        assert "200 pages" in kbjobs("resume", "1").stdout
        assert len(server.requests) <= 200 - 20 + 1
        scrape_site(home, server.url, "calm", max_depth=20, page_limit=1_000)
        assert files_of(home) == files_of(home, "calm")


def test_a_disk_that_fills_up(small_disk: Path, home: Home, kbjobs: Kbjobs, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Home(small_disk / "home")
    full.path.mkdir()
    monkeypatch.setenv("KBJOBS_HOME", str(full.path))
    text = "<p>Water boils and the kettle sings.</p>" * 500
    pages = {path: Page(f"{one.body}{text}", etag=one.etag) for path, one in tree(60).items()}
    with SiteServer(pages) as server:
        server.gate.clear()
        job = kbjobs("run", "scrape", "site", "--url", server.url, *FAST, "--detach").stdout.strip()
        try:
            wait_until(lambda: server.requests)
            filler = fill_disk(small_disk, 500_000)
            server.gate.set()
            ended = kbjobs("wait", job, check=ExitCode.UNAVAILABLE)
            assert "full" in ended.stderr and "Traceback" not in ended.stderr
            files = files_of(full)
            assert 0 < len(files) < 60
            assert not [name for name in files if name.endswith(".part")]
            assert all(len(body) > len(text) for body in files.values())
            filler.unlink()
            assert "60 pages" in kbjobs("resume", job).stdout
        finally:
            kbjobs("daemon", "stop", "--now", check=None)
        scrape_site(home, server.url, max_depth=20, page_limit=1_000)
        assert files_of(full) == files_of(home)


DELAY = 0.2
NOISE = 0.005


def test_a_host_is_never_asked_sooner_than_it_was_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server's clock: robots.txt, sitemaps, pages, redirects, pictures, also where it takes long to connect.

    A busy machine may be late with one request in one crawl. A fault shows in each.
    """
    connecting = itertools.cycle([0.0, 1.5 * DELAY])

    async def look_up(host: str, port: int) -> list[str]:
        await asyncio.sleep(next(connecting))
        return [host]

    monkeypatch.setattr(address_guard, "look_up", look_up)
    close = {"Connection": "close"}
    pages: dict[str, Answer] = {
        "/": page("Start", "/a", "/b", "/old", "/gone", "/out", "/picture"), "/a": page("A", "/c", headers=close),
        "/b": Page("<p>B<img src=/i.png><link rel=stylesheet href=/s.css>", headers=close), "/c": page("C", etag='"c"'),
        "/old": Page(location="/older", headers=close), "/older": Page(location="/c"),
        "/i.png": Page(b"I", type="image/png"), "/out": Page(location="https://example.org/"),
        "/s.css": Page("p {}", type="text/css"), "/map.xml": "<urlset/>",
        "/picture": Page(b"P", type="image/png", headers=close),
    }  # fmt: skip
    with SiteServer(pages) as server:
        server.pages["/robots.txt"] = Page(f"Sitemap: {server.url}/map.xml", type="text/plain", headers=close)
        min_seconds = []
        for number in range(8):
            server.requests.clear()
            scrape_site(home, server.url, f"site{number}", request_delay=DELAY, include_assets=True)
            assert {"/robots.txt", "/map.xml", "/older", "/gone", "/i.png", "/s.css"} <= set(server.paths())
            gaps = [two.time - one.time for one, two in itertools.pairwise(server.requests)]
            min_seconds.append(min(gaps))
            if min_seconds[-1] >= DELAY - NOISE:
                break
        assert max(min_seconds) >= DELAY - NOISE, min_seconds
