"""A running ``kbjobs builder`` on the test's home, and Debian's Chromium to look at it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from kbjobs.config.home import Home
from kbjobs.services.sources import register
from tests.conftest import real_input, write_pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")


@dataclass
class Builder:
    """The process, and what it printed at its start."""

    process: subprocess.Popen[str]
    url: str
    token: str
    port: int

    @property
    def base(self) -> str:
        """Its address, without the token."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def errors(self) -> str:
        """What it has written to stderr; it is ended for that."""
        self.stop()
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def client(self, **options: Any) -> httpx.Client:
        """A client that carries the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.base, headers=headers, timeout=30, trust_env=False, **options)

    def stop(self) -> None:
        """Ctrl-C, and wait until it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(10)


@contextmanager
def running(*options: str) -> Iterator[Builder]:
    """``kbjobs builder`` with options, on the home of the environment."""
    arguments = [sys.executable, "-P", "-m", "kbjobs", "builder", "--json", *options]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    assert process.stderr is not None
    output = ""
    while not output.endswith("}\n"):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        output += line
    found = json.loads(output)
    builder = Builder(process, found["url"], found["token"], found["port"])
    try:
        yield builder
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


Start = Callable[..., Any]


@pytest.fixture
def builder(home: Home, test_types: None) -> Iterator[Builder]:
    """A builder on the test's home."""
    with running() as started:
        yield started


@pytest.fixture
def api(builder: Builder) -> Iterator[httpx.Client]:
    """A client of the builder, with its token."""
    with builder.client() as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Not for the whole run: while it is open, its library holds the event loop of the thread."""
    from playwright.sync_api import sync_playwright

    executable = real_input(CHROMIUM, "Debian's chromium (tests/real/fetch_inputs.sh)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(executable), args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Seen:
    """What a page has said and asked for."""

    problems: list[str]
    addresses: list[str]


@pytest.fixture
def page(browser: Browser, builder: Builder) -> Iterator[Page]:
    """A page on the builder, let in by its token. At its end nothing has gone wrong, and nobody else was asked."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(15_000)
    opened = context.new_page()
    seen = Seen([], [])
    opened.on("pageerror", lambda error: seen.problems.append(str(error)))
    opened.on("console", lambda said: seen.problems.append(said.text) if said.type == "error" else None)
    opened.on("request", lambda request: seen.addresses.append(request.url))
    opened.goto(builder.url)
    yield opened
    context.close()
    # A refused request is told in the console by the browser itself; what it means is told on the page.
    assert not [one for one in seen.problems if "Failed to load resource" not in one], seen.problems
    foreign = [one for one in seen.addresses if not one.startswith((builder.base, "data:", "blob:"))]
    assert not foreign


@pytest.fixture
def compose(home: Home, page: Page, builder: Builder, tmp_path: Path) -> Page:
    """The builder's page, on a home with a source "wiki"."""
    register(home, "wiki", [write_pages(tmp_path / "pages", 4)])
    page.goto(f"{builder.base}/builder")
    page.wait_for_selector("body[data-ready]")
    return page
