"""The page of a document: its beginning is sent before the document has been read again."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.services.documents import DocumentText, read_text
from kbjobs.services.jobs import JobManager
from kbjobs.services.sources import register
from kbjobs.web import pages
from kbjobs.web.app import Access, make_app
from kbjobs.web.events import EventHub
from tests.conftest import wait_ended, write_pages

PAGE = "/sources/wiki/documents/1"


@pytest.fixture
def read_home(home: Home, tmp_path: Path) -> Home:
    """A home with one document that was read once."""
    register(home, "wiki", [write_pages(tmp_path / "pages", 1)])
    with JobManager(home) as manager:
        wait_ended(manager, manager.submit("metadata", "wiki"))
    return home


def fetch(home: Home, sent: list[bytes], first: threading.Event) -> int:
    """Ask for the page; the parts of the answer are put into ``sent`` as they are sent. The answer's status."""
    app = make_app(home, EventHub(home), Access("secret", 80))
    headers = [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer secret")]
    scope = {"type": "http", "method": "GET", "path": PAGE, "raw_path": PAGE.encode(), "query_string": b"",
             "headers": headers, "scheme": "http", "server": ("127.0.0.1", 80), "http_version": "1.1"}  # fmt: skip
    statuses: list[int] = []

    async def run() -> None:
        ended = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            elif message["body"]:
                sent.append(message["body"])
                first.set()
            if not message.get("more_body", True):
                ended.set()

        await app(scope, receive, send)

    asyncio.run(run())
    return statuses[0]


def test_the_head_of_the_page_does_not_wait_for_the_reading(read_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    first = threading.Event()

    def read(*arguments: Any, **options: Any) -> DocumentText:
        assert first.wait(10), "nothing is sent before the document has been read"
        return read_text(*arguments, **options)

    monkeypatch.setattr(pages, "read_text", read)
    assert fetch(read_home, sent, first) == 200
    head, rest = (part.decode() for part in sent)
    assert "<h1>" in head and head.rstrip().endswith("<h2>What is kept</h2>")
    assert '<p class="kept">' in rest and rest.endswith("</html>")
    assert "\0" not in head + rest


def test_a_source_that_cannot_be_read_is_said_on_the_page(read_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> DocumentText:
        raise KbjobsError("the archive is damaged")

    sent: list[bytes] = []
    monkeypatch.setattr(pages, "read_text", fail)
    assert fetch(read_home, sent, threading.Event()) == 200
    assert b"the archive is damaged. Its passages are below." in sent[-1]
    assert sent[-1].endswith(b"</html>")
