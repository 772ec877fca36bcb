"""The builder that serves search and documents, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ExitCode
from kbjobs.services.sources import register
from kbjobs.web.app import ENDPOINTS, OF_SEARCH
from kbjobs.web.pages import PAGES, PAGES_OF_SEARCH
from tests.assistant.calls import read_metadata
from tests.conftest import Kbjobs, write_pages
from tests.web.conftest import Builder, running


@pytest.fixture
def searching(home: Home, tmp_path: Path) -> Iterator[Builder]:
    """The server, on a home with a source that can be searched by words."""
    register(home, "wiki", [write_pages(tmp_path / "pages", 2)])
    read_metadata(home, "wiki")
    with running("--search-only") as builder:
        yield builder


def test_search_and_documents(searching: Builder) -> None:
    with searching.client(follow_redirects=True) as client:
        page = client.get("/", params={"words": "kettle"})
        assert page.url.path == "/search"
        page = client.get("/search", params={"words": "kettle"})
        assert "Page 1" in page.text and "/sources/wiki/documents/by-id?doc=" in page.text
        [first, second] = client.get("/api/search", params={"words": "kettle"}).json()["hits"]
        assert client.get("/sources/wiki/documents/by-id", params={"doc": first["doc_id"]}).status_code == 200
        assert "the kettle sings" in client.get(f"/api/sources/wiki/documents/{second['doc_id']}").text
        assert client.get("/sources/wiki/documents").status_code == 200
        assert [one["id"] for one in client.get("/api/sources").json()["sources"]] == ["wiki"]
        for path in ("/search?words=kettle", "/sources/wiki/documents", "/sources/wiki/documents/1"):
            links = client.get(path).text.split('href="')[1:]
            for link in {one.partition('"')[0].replace("&amp;", "&") for one in links}:
                assert (
                    link.startswith(("#", "file:", "http"))
                    or client.get(str(httpx.URL(searching.base + path).join(link))).is_success
                ), link


def test_nothing_else(searching: Builder) -> None:
    with searching.client() as client:
        served = {(one.method, one.path) for one in OF_SEARCH}
        for one in ENDPOINTS:
            if (one.method, one.path) not in served:
                path = one.path.replace("{job:int}", "1").replace("{source}", "wiki").replace("{name}", "x")
                answer = client.request(one.method, path, json={} if one.method != "GET" else None)
                assert answer.status_code in (404, 405), (one.method, path, answer.text)
        for route in PAGES:
            if route not in PAGES_OF_SEARCH:
                path = route.path.replace("{job:int}", "1").replace("{source}", "wiki").replace("{name}", "map")
                assert client.get(path).status_code == 404, path
        for path in ("/metrics", "/openapi.json", "/api/events"):
            assert client.get(path).status_code == 404


def test_the_same_guard(searching: Builder) -> None:
    with httpx.Client(base_url=searching.base, trust_env=False) as stranger:
        assert stranger.get("/api/search", params={"words": "kettle"}).status_code == 401
        assert stranger.get("/search", headers={"Host": "evil.example"}).status_code == 421


def test_other_machines_only_if_asked_for(kbjobs: Kbjobs) -> None:
    ended = kbjobs("builder", "--search-only", "--host", "0.0.0.0", check=ExitCode.USAGE)
    assert "read the sources here" in ended.stderr and "run jobs" not in ended.stderr
