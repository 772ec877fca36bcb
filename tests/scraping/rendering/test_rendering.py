"""Pages that scripts write: what is saved, which links are followed, and what a site is asked for."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ExitCode, KbjobsError, MissingRequirementError, UsageError
from kbjobs.scraping import crawl
from kbjobs.scraping.rendering import browser_choice, page_rendering, site_rendering
from kbjobs.scraping.rendering.browser_choice import find_browser
from kbjobs.store.frontier import Frontier
from kbjobs.store.sources import SourceFolder
from tests.conftest import Kbjobs
from tests.phases.test_metadata import describe_pages
from tests.scraping.rendering.conftest import SHELL, script, shell_site, text_of, with_script
from tests.scraping.test_scrape import files_of, page, scrape_site, tree
from tests.servers.site_server import Page, Request, SiteServer

pytestmark = pytest.mark.usefixtures("chromium")
WHOLE: dict[str, Any] = {"max_depth": 20, "page_limit": 1000}


def decision_of(home: Home) -> Any:
    with Frontier(SourceFolder(home.sources, "site").frontier) as frontier:
        return frontier.fact(site_rendering.FACT)


@pytest.mark.slow
def test_a_shell_that_fills_itself_comes_in_with_its_text_and_links(home: Home) -> None:
    with SiteServer(shell_site(7)) as server:
        result = scrape_site(home, server.url, render="auto", **WHOLE)
        assert (result.counts["pages"], result.counts["rendered"], result.counts["is_rendered"]) == (7, 7, True)
        files = files_of(home)
        assert len(files) == 7
        for number in range(7):
            saved = files["index.html" if number == 0 else f"p/{number}.html"].decode()
            assert text_of(number) in saved and f"<title>Page {number}</title>" in saved
            assert "<script" not in saved and "turn on JavaScript" not in saved
        assert '<a href="p/1.html">' in files["index.html"].decode()
        assert server.paths().count("/app.js") == 1  # the same for all pages
        assert "/picture.png" not in server.paths()
        assert server.paths().count("/robots.txt") == 1
        assert all(request.headers["user-agent"].startswith("kbjobs/") for request in server.requests)
        describe_pages(home, "site")


@pytest.mark.slow
def test_auto_leaves_a_site_alone_that_has_its_text(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with SiteServer(tree(9)) as server:
        result = scrape_site(home, server.url, render="auto", **WHOLE)
    assert result.counts["pages"] == 9 and result.counts["is_rendered"] is False
    assert result.counts["rendered"] == site_rendering.SAMPLE
    assert "3 pages have their text without scripts" in result.summary and "pages are not rendered" in caplog.text
    with SiteServer(tree(9), port=server.port):
        assert scrape_site(home).counts["rendered"] == 0  # decided once


@pytest.mark.slow
def test_a_page_with_less_than_half_of_its_text_makes_its_site_be_rendered(home: Home) -> None:
    told = "What the site sent without scripts, a paragraph of more than a hundred characters about rope and wood. " * 2
    more = "document.getElementById('m').innerHTML += '<p>' + 'What scripts add to it, and that is more. '.repeat(99)"
    with SiteServer({"/": with_script(more, f"<main id=m><p>{told}</p></main>")}) as server:
        scrape_site(home, server.url, render="auto")
    assert decision_of(home)["is_rendered"] is True
    assert "<p>What scripts add" in files_of(home)["index.html"].decode()
    small = more.replace("99", "2")
    with SiteServer({"/": with_script(small, f"<main id=m><p>{told}</p></main>")}) as server:
        scrape_site(home, server.url, "other", render="auto")
    assert "<p>What scripts add" not in files_of(home, "other")["index.html"].decode()


@pytest.mark.slow
def test_addresses_that_scripts_push_and_links_that_they_make_are_followed(home: Home) -> None:
    pushes = "history.pushState({}, '', '/pushed?x=1'); history.replaceState({}, '', '/start/')"
    makes = "; const a = document.createElement('a'); a.href = 'made'; document.body.append(a)"
    goes = "setTimeout(() => { location.href = '/gone-to' }, 0)"
    with SiteServer({
        "/": with_script(pushes + makes), "/pushed": page("Pushed"), "/start/made": page("Made"),
        "/start/": page("Start again", "/goes"), "/goes": with_script(goes), "/gone-to": page("Gone to"),
    }) as server:  # fmt: skip
        scrape_site(home, server.url, render="always", **WHOLE)
    names = {name.partition("-")[0].removesuffix(".html") for name in files_of(home)}
    assert names == {"index", "pushed", "start/made", "start/index", "goes", "gone"}
    assert 'href="start/made.html"' in files_of(home)["index.html"].decode()  # by the address it has then


@pytest.mark.slow
def test_hash_routes_are_followed_if_wanted(home: Home) -> None:
    code = (
        "const show = () => { document.getElementById('app').innerHTML = '<main><h1>Route ' + location.hash"
        " + '</h1><p>' + ('About ' + location.hash + ' there is much to say. ').repeat(9) + '</p>"
        '<a href="#/one">1</a><a href="#/two">2</a><a href="#top">top</a></main>\' }; show()'
    )
    with SiteServer({"/": SHELL, "/app.js": script(code)}) as server:
        assert scrape_site(home, server.url, render="always", **WHOLE).counts["pages"] == 1
        result = scrape_site(home, render_routes=True)
        assert result.counts["pages"] == 3
        saved = [text.decode() for text in files_of(home).values()]
        for route in ("#/one", "#/two"):
            assert (
                sum(f"About {route} there is much" in text and f'{server.url}/{route}"' in text for text in saved) == 1
            )
        assert scrape_site(home).counts["unchanged"] == 3


@pytest.mark.slow
def test_a_page_is_complete_once_the_selector_matches(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    late = "setTimeout(() => { document.body.innerHTML = '<main><h1 class=done>Late</h1></main>' }, 900)"
    with SiteServer({"/": with_script(late)}) as server:
        scrape_site(home, server.url, render="always")
        assert "Late" not in files_of(home)["index.html"].decode()  # the network was quiet before
        scrape_site(home, render_wait="main > .done")
        assert "Late" in files_of(home)["index.html"].decode()
        monkeypatch.setattr(page_rendering, "PAGE_SECONDS", 1.0)
        scrape_site(home, render_wait=".never")  # what is there in time is saved
        assert "Late" in files_of(home)["index.html"].decode()
        with pytest.raises(UsageError, match=r"'p\[\[' is not a CSS selector"):
            scrape_site(home, render_wait="p[[")


@pytest.mark.slow
def test_robots_and_the_delay_hold_for_what_scripts_ask_for(home: Home) -> None:
    asks = "for (const one of ['a', 'b', 'private/c']) fetch('/' + one).then((r) => r.text()).then((t) => {"
    asks += " document.getElementById('m').innerHTML += t }).catch(() => { document.title = 'refused' })"
    pages: dict[str, Any] = {
        "/": with_script(asks), "/a": "<p>About a.", "/b": "<p>About b.", "/private/c": "<p>About c.",
        "/robots.txt": Page("User-agent: *\nDisallow: /private/\n", type="text/plain"),
    }  # fmt: skip
    with SiteServer(pages) as server:
        scrape_site(home, server.url, render="always", request_delay=0.3)
        saved = files_of(home)["index.html"].decode()
        assert "About a" in saved and "About b" in saved and "About c" not in saved and "refused" in saved
        assert "/private/c" not in server.paths()
        times = sorted(one.time for one in server.requests)
        assert len(times) == 4
        assert all(later - earlier > 0.27 for earlier, later in itertools.pairwise(times))


@pytest.mark.slow
def test_redirects_of_files_are_followed_by_the_same_rules(home: Home) -> None:
    fills = "document.getElementById('m').innerHTML += '<p>By the script.</p>'"
    pages: dict[str, Any] = {
        "/": "<main id=m><p>Sent.</p></main><script src=/old.js></script><script src=/to-private.js></script>",
        "/old.js": Page(location="/new.js"), "/new.js": script(fills),
        "/to-private.js": Page(location="/private/x.js"), "/private/x.js": script(fills.replace("By", "Not by")),
        "/robots.txt": Page("User-agent: *\nDisallow: /private/\n", type="text/plain"),
    }  # fmt: skip
    with SiteServer(pages) as server:
        scrape_site(home, server.url, render="always")
        saved = files_of(home)["index.html"].decode()
        assert "By the script" in saved and "Not by the script" not in saved
        assert "/private/x.js" not in server.paths()


@pytest.mark.slow
def test_the_headers_of_scripts_are_sent_but_their_cookies_are_not(home: Home) -> None:
    def answer(request: Request) -> Page:
        return Page(json.dumps(request.headers.get("x-key", "none")), type="application/json")

    asks = "fetch('/api', {headers: {'X-Key': 'k1', 'Cookie': 'a=b'}}).then((r) => r.json()).then((t) => {"
    asks += " document.getElementById('m').textContent = 'The key is ' + t })"
    with SiteServer({"/": with_script(asks), "/api": answer}) as server:
        scrape_site(home, server.url, render="always")
        assert "The key is k1" in files_of(home)["index.html"].decode()
        assert all("sec-fetch-mode" not in one.headers and "cookie" not in one.headers for one in server.requests)


@pytest.mark.slow
def test_the_text_of_shadow_roots_is_saved(home: Home) -> None:
    code = (
        "customElements.define('x-card', class extends HTMLElement { constructor() { super();"
        " this.attachShadow({mode: 'open'}).innerHTML = '<p>Before</p><slot></slot><p>After</p>'; } })"
    )
    with SiteServer({"/": with_script(code, "<main><x-card><b>Between</b></x-card></main>")}) as server:
        scrape_site(home, server.url, render="always")
    assert "<p>Before</p><slot><b>Between</b></slot><p>After</p>" in files_of(home)["index.html"].decode()


@pytest.mark.slow
def test_a_resumed_scrape_keeps_its_decision(home: Home) -> None:
    with SiteServer(shell_site(5)) as server:
        scrape_site(home, server.url, render="auto", max_depth=0)
        assert decision_of(home)["is_rendered"] is True
        # Decided anew, these pages would need no scripts.
        server.pages |= {"/": page("Start", "/p/1"), "/p/1": page("One"), "/app.js": script("")}
        result = scrape_site(home)
        assert result.counts["is_rendered"] is True and result.counts["rendered"] >= 1


@pytest.mark.slow
def test_a_page_whose_file_fails_is_tried_once_more(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(crawl, "FIRST_WAIT", 0.01)
    pages = shell_site(3)
    pages["/api/1"] = [Page("", 503, headers={"Retry-After": "0"}), pages["/api/1"]]
    pages["/api/2"] = Page("", 500)
    with SiteServer(pages) as server:
        result = scrape_site(home, server.url, render="always", **WHOLE)
        assert (result.counts["pages"], result.counts["failed"]) == (3, 0)
        assert text_of(1) in files_of(home)["p/1.html"].decode()
        assert server.paths().count("/api/2") == 2
    assert "p/2 is saved without a file that could not be loaded" in caplog.text
    assert "p/1 is saved without" not in caplog.text


# -- what is missing, or wrong -------------------------------------------------------------------------


def test_without_the_extra_or_a_browser_nothing_is_queued(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://127.0.0.1:9/"
    monkeypatch.setattr(browser_choice, "NAMES", ("no-such-browser",))
    with pytest.raises(MissingRequirementError, match="Chromium, which is not installed") as error:
        scrape_site(home, url, render="always")
    assert error.value.exit_code == ExitCode.MISSING_REQUIREMENT and "apt install chromium" in (error.value.hint or "")
    monkeypatch.setenv("KBJOBS_RENDER_BROWSER", "/no/such/browser")
    with pytest.raises(MissingRequirementError, match="'/no/such/browser', which is not a program"):
        scrape_site(home, url, render="auto")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(browser_choice, "find_spec", lambda name: None if name == "playwright" else find_spec(name))
    with pytest.raises(MissingRequirementError, match="playwright, which is not installed") as error:
        scrape_site(home, url, render="auto")
    assert error.value.hint == "pip install 'kbjobs[render]'"
    assert not SourceFolder(home.sources, "site").manifest.exists()


def test_the_browser_named_by_the_setting_is_used(home: Home, tmp_path: Path) -> None:
    program = tmp_path / "my-chromium"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o700)
    assert find_browser(str(program)) == program


def test_parameters_of_rendering_need_it(home: Home) -> None:
    for wrong in ({"render_wait": "h1"}, {"render_routes": True}):
        with pytest.raises(UsageError, match="is given, and no page is rendered"):
            scrape_site(home, "http://127.0.0.1:9/", **wrong)
    with pytest.raises(UsageError, match="--render-wait is empty"):
        scrape_site(home, "http://127.0.0.1:9/", render="always", render_wait=" ")


def test_the_command_knows_its_choices(kbjobs: Kbjobs) -> None:
    ended = kbjobs("run", "scrape", "s", "--url", "http://127.0.0.1:9/", "--render", "alwas", check=ExitCode.USAGE)
    assert "render: Input should be 'never', 'auto' or 'always'" in ended.stderr
    assert "--render-wait" in kbjobs("run", "scrape", "--help").stdout


def test_a_scrape_that_does_not_render_imports_nothing_of_it() -> None:
    code = (
        "import sys; import kbjobs.scraping.scrape, kbjobs.phases.scrape;"
        "print([name for name in sys.modules if 'rendering' in name or 'playwright' in name])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_browser_that_does_not_start_is_named_with_what_it_said(home: Home, tmp_path: Path) -> None:
    program = tmp_path / "my-chromium"
    program.write_text("#!/bin/sh\necho 'No usable sandbox! Update your kernel.' >&2\nexit 1\n")
    program.chmod(0o700)
    (home.path / "config.toml").write_text(f'render.browser = "{program}"\n')
    with SiteServer({"/": "<p>Text"}) as server, pytest.raises(KbjobsError) as error:
        scrape_site(home, server.url, render="always")
    assert str(error.value) == f"the browser {program} cannot be started: No usable sandbox! Update your kernel."
    assert "render.browser" in (error.value.hint or "")
