"""A site whose pages are written by scripts, and the browser for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import real_input
from tests.servers.site_server import Page

CHROMIUM = Path("/usr/bin/chromium")
SHELL = (
    "<!doctype html><html><head><title>Shell</title></head><body><div id=app></div>"
    "<noscript>Please turn on JavaScript, without which this site of ours shows nothing but this sentence, which is"
    " long enough to look like a text of its own</noscript><script src=/app.js></script></body></html>"
)
FILLS = """
const id = (location.pathname.match(/\\d+/) || [0])[0];
fetch('/api/' + id).then((answer) => answer.json()).then((found) => {
  document.title = found.title;
  document.getElementById('app').innerHTML = '<main><h1>' + found.title + '</h1><p>' + found.text + '</p>'
    + found.links.map((link) => '<a href="' + link + '">' + link + '</a>').join(' ') + '</main><img src=/picture.png>';
});
"""


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Debian's Chromium; without it, the test is skipped."""
    return real_input(CHROMIUM, "Debian's chromium (tests/real/fetch_inputs.sh)")


def script(code: str) -> Page:
    """A file with a script."""
    return Page(code, type="text/javascript")


def text_of(number: int) -> str:
    """The text that scripts write on a page."""
    return f"Page {number} is about knots and splices, and how to tie them on a wet evening. " * 4


def shell_site(count: int) -> dict[str, Any]:
    """Pages of which each is the same shell, and which a script fills; each leads to two more."""
    pages: dict[str, Any] = {"/app.js": script(FILLS), "/robots.txt": Page("", 404)}
    for number in range(count):
        links = [f"/p/{one}" for one in (2 * number + 1, 2 * number + 2) if one < count]
        found = {"title": f"Page {number}", "text": text_of(number), "links": links}
        pages["/" if number == 0 else f"/p/{number}"] = SHELL
        pages[f"/api/{number}"] = Page(json.dumps(found), type="application/json")
    return pages


def with_script(code: str, body: str = "<main id=m><p>What the site sent.</p></main>") -> str:
    """A page with a script in it."""
    return f"<!doctype html><html><head><title>Page</title></head><body>{body}<script>{code}</script></body></html>"
